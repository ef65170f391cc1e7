import itertools
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from builders import CLIP, Camera
from pan_mm.deploy.streaming.sources import FileSource, Frame, FrameBuffer, LiveSource, open_source
from pan_mm.utils.errors import VideoError


@pytest.mark.real_data
class TestFileSource:
    def test_all_frames_in_order(self, clips_dir):
        frames = list(open_source(clips_dir / CLIP))
        assert [frame.index for frame in frames] == list(range(38))
        assert np.allclose([frame.timestamp for frame in frames], np.arange(38) / 15)
        capture = cv2.VideoCapture(str(clips_dir / CLIP))
        assert (frames[0].image == capture.read()[1][..., ::-1]).all()  # RGB

    def test_iterates_again(self, clips_dir):
        source = FileSource(clips_dir / 'robustness/derived_short_5frames_utd_a1.mp4')
        assert len(list(source)) == len(list(source)) == 5

    @pytest.mark.parametrize('name', ['hmdb51_golf.avi', 'gmdcsa24_S4_Fall_02_vfr.mp4'])
    def test_timestamps_increase(self, clips_dir, name):
        times = [frame.timestamp for frame in FileSource(clips_dir / 'labelled' / name)]
        assert times[0] == 0
        assert (np.diff(times) > 0).all()
        assert times[-1] == pytest.approx(len(times) / 30, rel=0.05)

    @pytest.mark.parametrize(
        ('name', 'found'),
        [
            ('empty.mp4', 'empty file'),
            ('zeros.mp4', 'is not a video'),
            ('truncated_no_moov_maybe.mp4', 'cannot be opened as a video'),
        ],
    )
    def test_no_video(self, clips_dir, name, found):
        with pytest.raises(VideoError, match=f'{name}: {found}'):
            open_source(clips_dir / 'negative' / name)

    def test_text_file(self, clips_dir):
        with pytest.raises(VideoError, match='labelled.txt: is not a video'):
            open_source(clips_dir / 'annotations/labelled.txt')

    def test_missing(self, tmp_path):
        with pytest.raises(VideoError, match='no such file'):
            open_source(tmp_path / 'none.mp4')

    def test_no_permission(self, clips_dir, unreadable):
        with unreadable(clips_dir / CLIP) as path, pytest.raises(VideoError, match='denied'):
            open_source(path)

    def test_truncated_file_warns_after_what_it_has(self, clips_dir, tmp_path):
        content = (clips_dir / 'labelled/hmdb51_golf.avi').read_bytes()
        (tmp_path / 'cut.avi').write_bytes(content[: len(content) // 2])
        with pytest.warns(UserWarning, match='cut.avi: only .. of 90 frames'):
            frames = list(open_source(tmp_path / 'cut.avi'))
        assert 30 < len(frames) < 60

    def test_a_damaged_frame_costs_that_frame_alone(self, clips_dir):
        frames = list(open_source(clips_dir / 'negative/corrupted_truncated_h264.mp4'))
        assert len(frames) == 49

    def test_no_decodable_frame(self, tmp_path):
        path = tmp_path / 'video.avi'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48))
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.release()
        content = path.read_bytes()
        start, end = content.index(b'movi') + 12, content.index(b'idx1')
        path.write_bytes(content[:start] + bytes(end - start) + content[end:])
        with pytest.raises(VideoError, match='no frame of it can be decoded'):
            list(open_source(path))


class TestFrameBuffer:
    def put(self, buffer, indices):
        for index in indices:
            buffer.put(Frame(index, 0.0, None))
        buffer.end()
        return [frame.index for frame in buffer]

    def test_drops_the_oldest_up_to_a_segment_start(self):
        buffer = FrameBuffer(6, lambda index: index % 4 == 1)
        assert self.put(buffer, range(7)) == [1, 2, 3, 4, 5, 6]
        assert buffer.dropped == 1

    def test_drops_whole_segments(self):
        buffer = FrameBuffer(6, lambda index: index % 4 == 1)
        # at 7 the frames 1 … 4 go, at 11 the frames 5 … 8
        assert self.put(buffer, range(12)) == [9, 10, 11]
        assert buffer.dropped == 9

    def test_never_holds_more_than_its_capacity(self):
        buffer = FrameBuffer(5, lambda index: False)
        kept = self.put(buffer, range(1000))
        assert 0 < len(kept) <= 5
        assert kept[-1] == 999

    def test_ends_when_its_patience_is_over(self):
        buffer = FrameBuffer(5, lambda index: True, patience=0.01)
        buffer.put(Frame(0, 0.0, None))
        assert [frame.index for frame in buffer] == [0]

    def test_an_error_arrives_after_the_frames(self):
        buffer = FrameBuffer(5, lambda index: True)
        buffer.put(Frame(0, 0.0, None))
        buffer.end(VideoError('gone'))
        frames = iter(buffer)
        assert next(frames).index == 0
        with pytest.raises(VideoError, match='gone'):
            next(frames)


@pytest.mark.real_data
@pytest.mark.filterwarnings('ignore:.*opening it again')
class TestLiveSource:
    def source(self, camera, **kwargs):
        buffer = FrameBuffer(100, lambda index: True, patience=60)
        return LiveSource(0, buffer, capture=camera, backoff=0.01, **kwargs)

    def test_reconnects_with_a_gap(self, clips_dir):
        camera = Camera(clips_dir / CLIP)
        with self.source(camera, retries=5) as source:
            frames = iter(source)
            camera.ready.release(19)  # the camera then waits before its last frame
            indices = [next(frames).index for _ in range(19)]
            assert indices == [*range(10), *range(11, 20)]
            assert source.reconnects == 1
            assert camera.attempts == 4  # at the start, two refused, one granted
            camera.ready.release(1)
            assert next(frames).index == 20
            with pytest.raises(VideoError, match='could not be opened again in 5 attempts'):
                next(frames)
        assert camera.released == camera.opened == 2

    def test_close_while_it_is_gone(self, clips_dir):
        camera = Camera(clips_dir / CLIP, connections=1)
        source = self.source(camera)
        camera.ready.release(10)
        frames = iter(source)
        for _ in range(10):
            next(frames)
        source.close()
        assert list(frames) == []
        assert not source._thread.is_alive()
        assert camera.released == 1

    def test_frames_bear_the_time_of_capture(self, clips_dir):
        camera = Camera(clips_dir / CLIP)
        camera.ready.release(10)
        with self.source(camera) as source:
            frames = [frame for frame, _ in zip(source, range(5))]
        captured = [frame.captured for frame in frames]
        assert captured == sorted(captured)
        assert frames[0].timestamp > 1.6e9

    def test_no_such_camera(self):
        with pytest.raises(VideoError, match='camera 99 cannot be opened'):
            open_source(99)

    def test_unreachable_address(self, capfd):
        with pytest.raises(VideoError, match='check the address') as caught:
            open_source('http://me:secret@127.0.0.1:9/none?token=secret')
        assert 'http://me:***@127.0.0.1:9/none?token=***' in str(caught.value)
        assert 'secret' not in ''.join(capfd.readouterr())


class NetworkCamera(SimpleHTTPRequestHandler):
    """Motion JPEG at /camera, 12 pictures a connection, each second connection refused; else files.

    The pictures of a connection have one brightness, 20 more than those of the one before.
    """

    connections = itertools.count()

    def do_GET(self):  # noqa: N802, the base class's name
        if self.path != '/camera':
            return super().do_GET()
        number = next(self.connections)
        if number % 2:
            return self.send_error(503)
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=picture')
        self.end_headers()
        picture = np.full((48, 64, 3), 40 + 20 * number, np.uint8)
        _, jpeg = cv2.imencode('.jpg', picture)
        for _ in range(12):
            self.wfile.write(b'--picture\r\nContent-Type: image/jpeg\r\n')
            self.wfile.write(b'Content-Length: %d\r\n\r\n' % jpeg.size + jpeg.tobytes() + b'\r\n')
            time.sleep(0.005)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def network(videos):
    handler = type('Camera', (NetworkCamera,), dict(connections=itertools.count()))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(handler, directory=videos))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


class TestNetwork:
    @pytest.mark.filterwarnings('ignore:.*opening it again')
    def test_camera_that_goes_away_and_comes_back(self, network):
        buffer = FrameBuffer(99, bool, patience=60)
        with LiveSource(f'{network}/camera', buffer, backoff=0.01) as source:
            frames = [frame for frame, _ in zip(source, range(20))]
        brightness = [round(frame.image.mean() / 20) for frame in frames]
        first = brightness.count(brightness[0])
        assert brightness == [2] * first + [4] * (20 - first)  # the second was refused
        indices = [frame.index for frame in frames]
        assert indices == [*range(first), *range(first + 1, 21)]
        assert source.reconnects >= 1

    def test_address_of_a_file(self, network):
        with pytest.raises(VideoError, match='2.mp4: is a file, no live stream; download it first'):
            open_source(f'{network}/2.mp4')
