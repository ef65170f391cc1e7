import itertools
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest

from builders import CLIP, QuietHandler, served, write_video
from pan_mm.deploy.streaming import sources
from pan_mm.deploy.streaming.sources import Frame, FrameBuffer, LiveSource, open_source
from pan_mm.utils.errors import VideoError

pytestmark = pytest.mark.filterwarnings('ignore:.*opening it again')


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(sources, 'FIRST_WAIT', 0.01)


@pytest.mark.real_data
class TestFile:
    def test_all_frames_in_order(self, clips_dir):
        frames = list(open_source(clips_dir / CLIP))
        assert [frame.index for frame in frames] == list(range(38))
        assert np.allclose([frame.timestamp for frame in frames], np.arange(38) / 15)
        capture = cv2.VideoCapture(str(clips_dir / CLIP))
        assert (frames[0].image == capture.read()[1][..., ::-1]).all()  # RGB

    @pytest.mark.parametrize('name', ['hmdb51_golf.avi', 'gmdcsa24_S4_Fall_02_vfr.mp4'])
    def test_timestamps_increase(self, clips_dir, name):
        times = [frame.timestamp for frame in open_source(clips_dir / 'labelled' / name)]
        assert times[0] == 0
        assert (np.diff(times) > 0).all()
        assert times[-1] == pytest.approx(len(times) / 30, rel=0.05)

    def test_a_damaged_frame_costs_that_frame_alone(self, clips_dir):
        assert len(list(open_source(clips_dir / 'negative/corrupted_truncated_h264.mp4'))) == 49

    def test_no_decodable_frame(self, tmp_path):
        picture = np.zeros((48, 64, 3), np.uint8)
        path = write_video(tmp_path / 'video.avi', [picture], 'mjpeg', pix_fmt='yuvj420p')
        content = path.read_bytes()
        start, end = content.index(b'movi') + 12, content.index(b'idx1')
        path.write_bytes(content[:start] + bytes(end - start) + content[end:])
        with pytest.raises(VideoError, match='no frame of it can be decoded'):
            list(open_source(path))


def test_buffer_drops_the_oldest_up_to_a_segment_start():
    buffer = FrameBuffer(6, lambda index: index % 4 == 1)
    for index in range(12):
        buffer.put(Frame(index, 0.0, None))
    buffer.end()
    # at 6 the frame 0 goes, at 7 the frames 1 … 4, at 11 the frames 5 … 8
    assert [frame.index for frame in buffer] == [9, 10, 11]
    assert buffer.dropped == 9


class NetworkCamera(QuietHandler):
    """Motion JPEG at /camera, 12 pictures a connection, each second connection refused; else files.

    At /once only the first connection is taken.

    The pictures of a connection have one brightness, 20 more than those of the one before.
    """

    connections = itertools.count()

    def do_GET(self):  # noqa: N802, the base class's name
        if self.path not in ('/camera', '/once'):
            return super().do_GET()
        number = next(self.connections)
        if number % 2 or number and self.path == '/once':
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


@pytest.fixture
def network(videos):
    handler = type('Camera', (NetworkCamera,), dict(connections=itertools.count()))
    with served(partial(handler, directory=videos)) as server:
        yield server.url


class TestNetwork:
    def test_camera_that_goes_away_and_comes_back(self, network):
        source = LiveSource(f'{network}/camera', FrameBuffer(99, bool))
        frames = [frame for _, frame in zip(range(20), source)]
        source.close()
        brightness = [round(frame.image.mean() / 20) for frame in frames]
        first = brightness.count(brightness[0])
        assert brightness == [2] * first + [4] * (20 - first)  # the second was refused
        indices = [frame.index for frame in frames]
        assert indices == [*range(first), *range(first + 2, 22)]
        captured = [frame.captured for frame in frames]
        assert captured == sorted(captured)
        assert frames[0].timestamp > 1.6e9

    def test_close_while_it_is_gone(self, network):
        is_released = threading.Event()

        class Capture:  # no subclass: OpenCV frees one as if it were its own, and corrupts memory
            def __init__(self, address):
                self.capture = cv2.VideoCapture(address)

            def __getattr__(self, name):
                return getattr(self.capture, name)

            def release(self):
                is_released.set()
                self.capture.release()

        source = LiveSource(f'{network}/once', FrameBuffer(99, bool), Capture)
        frames = iter(source)
        next(frames)
        assert is_released.wait(60)
        source.close()
        assert len(list(frames)) < 12
        assert not source._thread.is_alive()

    def test_address_of_a_file(self, network):
        with pytest.raises(VideoError, match='2.mp4: is a file, no live stream; download it first'):
            open_source(f'{network}/2.mp4')
