"""Decoding in processes of their own: what is refused, and how they are ended."""

import asyncio
import multiprocessing
import os
import time

import anyio
import av
import cv2
import numpy as np
import pytest
from pebble import ProcessExpired

from pan_mm.datasets.container import VideoTooLargeError
from pan_mm.deploy.server import decoding
from pan_mm.deploy.server.decoding import Decoder, check_video
from pan_mm.deploy.server.limits import Limits
from pan_mm.inference.videos import read_video
from pan_mm.utils.errors import VideoError

from .conftest import wait

LIMITS = Limits(timeout=100)


@pytest.fixture
def decode(inferencer):
    """Decodes a video within some limits."""

    def call(path, **limits):
        async def inside():
            decoder = Decoder(inferencer.pipeline, LIMITS._replace(**limits))
            async with decoder(path) as clip:
                return clip

        return asyncio.run(inside())

    return call


def refused(call, kind, words=None):
    with pytest.raises(kind, match=words) as refusal:
        call()
    return str(refusal.value)


def write_mjpeg(path, count, size):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 25, size)
    for value in range(count):
        writer.write(np.full((*size[::-1], 3), 10 * value, np.uint8))
    writer.release()


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
        text = refused(lambda: check_video(videos / '1.mp4', limits), VideoTooLargeError, message)
        assert str(videos) not in text

    def test_small_to_send_and_slow_to_decode(self, heavy):
        assert heavy.stat().st_size < LIMITS.max_bytes
        limits = Limits(max_work=10**10)
        refused(lambda: check_video(heavy, limits), VideoTooLargeError, '4096 × 2304')

    @pytest.mark.parametrize(
        'content',
        [
            b'',
            b'\0' * 4096,
            b'#EXTM3U\n#EXTINF:1,\nother.mp4\n',
            b'ffconcat version 1.0\nfile other.mp4\n',
            b'\0\0\0\x20ftypisom' + b'\0' * 500,
        ],
    )
    def test_not_a_video(self, videos, tmp_path, content):
        (tmp_path / 'other.mp4').write_bytes((videos / '0.mp4').read_bytes())
        for name in ('video', 'video.m3u8', 'video.mp4'):
            (tmp_path / name).write_bytes(content)
            text = refused(lambda name=name: check_video(tmp_path / name, Limits()), VideoError)
            assert str(tmp_path) not in text

    def test_a_video_that_does_not_say_how_long_it_is(self, videos, tmp_path):
        """Browsers record such files."""
        path = tmp_path / 'video.webm'

        class Pipe:  # that cannot seek back to note the length
            def __init__(self):
                self.file = path.open('wb')
                self.write = self.file.write

        pipe = Pipe()
        with av.open(str(videos / '3.mp4')) as source, av.open(pipe, 'w', 'matroska') as target:
            stream = target.add_stream('mpeg4', 25)
            stream.width, stream.height = 64, 48
            for frame in source.decode(video=0):
                frame.pict_type = 0
                target.mux(stream.encode(frame.reformat(format='yuv420p')))
            target.mux(stream.encode())
        pipe.file.close()
        assert check_video(path, Limits()) == 36
        assert os.listdir(tmp_path) == [path.name]  # nothing is written


def crash(*args):
    os._exit(3)


class TestDecoder:
    def test_gives_what_the_pipeline_gives(self, inferencer, decode, videos):
        clip = decode(videos / '2.mp4')
        data, _ = read_video(str(videos / '2.mp4'), inferencer.pipeline)
        assert (clip.inputs == data['inputs'].numpy()).all()
        assert clip.seconds > 0

    def test_frames_too_large_for_the_network(self, decode, videos):
        words = '64 × 64 pixels are too many'
        refused(lambda: decode(videos / '0.mp4', max_input=64 * 64 - 1), VideoTooLargeError, words)

    def test_is_killed_at_the_deadline(self, decode, heavy):
        began = time.monotonic()
        refused(lambda: decode(heavy, timeout=2), asyncio.TimeoutError)
        assert time.monotonic() - began < 10
        wait(lambda: not multiprocessing.active_children(), 5)

    def test_is_killed_when_nobody_waits(self, inferencer, heavy, videos):
        async def leave():
            decoder = Decoder(inferencer.pipeline, LIMITS)
            with anyio.move_on_after(1):
                async with decoder(heavy):
                    pass
            await anyio.to_thread.run_sync(wait, lambda: not multiprocessing.active_children(), 5)
            for _ in range(3):  # its place is free
                async with decoder(videos / '0.mp4') as clip:
                    assert clip.inputs.shape[1:] == (3, 64, 64)

        asyncio.run(leave())

    def test_memory_is_bounded(self, decode, tmp_path):
        path = tmp_path / 'large.avi'
        write_mjpeg(path, 20, (4096, 2304))
        refused(lambda: decode(path, max_memory=64 * 2**20), (VideoError, MemoryError))
        assert decode(path).inputs.shape[1:] == (3, 64, 64)

    def test_a_crash_costs_its_video_only(self, decode, videos, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(decoding, 'decode_clip', crash)
            refused(lambda: decode(videos / '0.mp4'), ProcessExpired)
        assert decode(videos / '0.mp4').inputs.shape[1:] == (3, 64, 64)

    def test_the_clock_may_jump(self, decode, videos, monkeypatch):
        """Deadlines are measured on the monotonic clock."""
        for jump in (-86_400, 31_536_000):
            now = time.time() + jump
            monkeypatch.setattr(time, 'time', lambda now=now: now)
            assert decode(videos / '0.mp4').seconds > 0
