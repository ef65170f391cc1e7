"""Decoding in processes of their own: what is refused, and how they are ended."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server.decoding import Decoder, check_video, decode_clip, decode_frames
from pan_mm.deploy.server.limits import Deadline, Limits, Refusal

LIMITS = Limits(timeout=600)


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture(scope='module')
def decoder(inferencer):
    return Decoder(inferencer.pipeline, LIMITS)


def children():
    """Processes that decode: those of the process that decoders are forked from."""
    from multiprocessing.forkserver import _forkserver

    pid = _forkserver._forkserver_pid
    return Path(f'/proc/{pid}/task/{pid}/children').read_text().split()


def refused(call, status, words=None):
    with pytest.raises(Refusal, match=words) as refusal:
        call()
    assert refusal.value.status == status
    return str(refusal.value)


class TestCheckVideo:
    def test_counts_frames(self, videos):
        assert check_video(videos / '1.mp4', Limits()) == 20

    @pytest.mark.real_data
    @pytest.mark.parametrize('folder', ['labelled', 'robustness'])
    def test_real_clips_of_all_kinds(self, clips_dir, folder):
        for path in (clips_dir / folder).iterdir():
            assert check_video(path, Limits()) > 0, path

    @pytest.mark.parametrize(
        ('limits', 'message'),
        [
            (Limits(max_seconds=0.7), 'lasts 1 s, and at most 1 s'),
            (Limits(max_pixels=64 * 48 - 1), 'larger than 3,071 pixels'),
            (Limits(max_work=19 * 256 * 256), 'pixels in all'),
            (Limits(max_bytes=100), 'at most 100'),
        ],
    )
    def test_too_much(self, videos, limits, message):
        text = refused(lambda: check_video(videos / '1.mp4', limits), 413, message)
        assert str(videos) not in text

    def test_small_to_send_and_slow_to_decode(self, heavy):
        assert heavy.stat().st_size < LIMITS.max_bytes
        refused(lambda: check_video(heavy, LIMITS), 413, '4096 × 2304')

    @pytest.mark.parametrize(
        'content',
        [
            b'',
            b'\0' * 4096,
            b'#EXTM3U\n#EXTINF:1,\nother.mp4\n',
            b'#EXTM3U\nAVI \n#EXTINF:1,\nother.mp4\n',
            b'ffconcat version 1.0\nfile other.mp4\n',
            b'v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n',
            b'\0\0\0\x20ftypisom' + b'\0' * 500,
        ],
    )
    def test_not_a_video(self, videos, tmp_path, content):
        (tmp_path / 'other.mp4').write_bytes((videos / '0.mp4').read_bytes())
        for name in ('video', 'video.m3u8', 'video.mp4'):
            (tmp_path / name).write_bytes(content)
            text = refused(lambda name=name: check_video(tmp_path / name, Limits()), 422)
            assert str(tmp_path) not in text

    def test_transport_stream(self, tmp_path):
        path = tmp_path / 'a.ts'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 25, (64, 48))
        for value in range(12):
            writer.write(np.full((48, 64, 3), 20 * value, np.uint8))
        writer.release()
        assert path.read_bytes()[:1] == b'G'
        assert check_video(path, Limits()) == 12

    def test_a_video_that_does_not_say_how_long_it_is(self, inferencer, decoder, videos, tmp_path):
        """Browsers record such files."""
        av = pytest.importorskip('av', reason='PyAV is not installed')
        path = tmp_path / 'video.webm'

        class Pipe:  # that cannot seek back to note the length
            def __init__(self):
                self.file = path.open('wb')
                self.write = self.file.write

        pipe = Pipe()
        with av.open(str(videos / '3.mp4')) as source, av.open(pipe, 'w', 'matroska') as target:
            stream = target.add_stream('mpeg4', 25)
            stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
            for frame in source.decode(video=0):
                frame.pict_type = 0
                target.mux(stream.encode(frame.reformat(format='yuv420p')))
            target.mux(stream.encode())
        pipe.file.close()
        clip = decoder.clip(path, Deadline(60))
        assert clip.num_frames == 36
        expected = decoder.clip(videos / '3.mp4', Deadline(60)).inputs
        assert (clip.inputs.float() - expected.float()).abs().mean() < 5
        assert os.listdir(tmp_path) == [path.name]  # nothing is written


class TestDecoder:
    def test_gives_what_the_pipeline_gives(self, inferencer, decoder, videos):
        clip = decoder.clip(videos / '2.mp4', Deadline(60))
        ((note, inputs),) = decode_clip(videos / '2.mp4', inferencer.pipeline, LIMITS)
        assert clip.num_frames == note['num_frames'] == 28
        assert (clip.inputs.numpy() == inputs).all()

    def test_frames_that_segments_need(self, decoder, videos):
        here = list(decode_frames(videos / '0.mp4', 8, 3))
        there = list(decoder.frames(videos / '0.mp4', Deadline(60), (8, 3)))
        assert [index for index, _, _ in there] == [4, 5, 6]
        for (note, image), (index, seconds, sent) in zip(here, there):
            assert note == dict(index=index, seconds=seconds)
            assert (image == sent).all()

    def test_frames_too_large_for_the_network(self, inferencer, videos):
        decoder = Decoder(inferencer.pipeline, LIMITS._replace(max_input=64 * 64 - 1))
        words = '64 × 64 pixels are too many'
        refused(lambda: decoder.clip(videos / '0.mp4', Deadline(60)), 413, words)

    def test_is_killed_at_the_deadline(self, decoder, heavy, inferencer):
        """A file that no count gives away."""
        limits = LIMITS._replace(max_work=1e15, timeout=2)
        patient = Decoder(inferencer.pipeline, limits)
        patient.wait()
        refused(lambda: patient.clip(heavy, Deadline(60)), 413, 'takes more than 1 s')
        assert patient.killed == 1
        assert children() == []

    def test_is_killed_when_nobody_waits(self, inferencer, heavy):
        decoder = Decoder(inferencer.pipeline, LIMITS._replace(max_work=1e15, timeout=100))
        decoder.wait()
        refused(lambda: decoder.clip(heavy, Deadline(0.5)), 503, 'no time left')
        frames = decoder.frames(heavy, Deadline(60), (1, 1))
        next(frames)
        assert len(children()) == 1
        frames.close()
        assert decoder.killed == 2
        assert children() == []

    def test_memory_is_bounded(self, inferencer, tmp_path):
        path = tmp_path / 'large.avi'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 25, (4096, 2304))
        for _ in range(20):
            writer.write(np.zeros((2304, 4096, 3), np.uint8))
        writer.release()
        small = LIMITS._replace(max_memory=64 * 2**20, timeout=120)
        refused(lambda: Decoder(inferencer.pipeline, small).clip(path, Deadline(60)), 422)
        clip = Decoder(inferencer.pipeline, LIMITS._replace(timeout=120)).clip(path, Deadline(60))
        assert clip.num_frames == 20

    def test_a_crash_is_the_files_fault(self, decoder, videos):
        def abort(deadline):
            return list(decoder._run(deadline, os._exit, 3))

        refused(lambda: abort(Deadline(60)), 422, 'broke down')
        assert decoder.clip(videos / '0.mp4', Deadline(60)).num_frames == 12
