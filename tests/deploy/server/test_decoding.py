"""Decoding in processes of their own: what is refused, and how they are ended."""

import asyncio
import multiprocessing
import os
import time

import anyio
import numpy as np
import pytest
from pebble import ProcessExpired

from builders import wait, write_video
from pan_mm.datasets.container import VideoTooLargeError
from pan_mm.deploy.server import decoding
from pan_mm.deploy.server.decoding import Decoder, check_video
from pan_mm.deploy.server.limits import Limits
from pan_mm.inference.videos import read_video
from pan_mm.utils.errors import VideoError

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


class TestCheckVideo:
    def test_length(self, videos):
        check_video(videos / '1.mp4', Limits(max_seconds=0.8))  # 20 of 25 a second

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

    def test_not_a_video(self, tmp_path):
        path = tmp_path / 'video.m3u8'
        for content in (b'#EXTM3U\n#EXTINF:1,\nother.mp4\n', b'\0\0\0\x20ftypisom' + bytes(500)):
            path.write_bytes(content)
            assert str(tmp_path) not in refused(lambda: check_video(path, Limits()), VideoError)


def crash(*args):
    os._exit(3)


class TestDecoder:
    def test_gives_what_the_pipeline_gives(self, inferencer, decode, videos):
        clip = decode(videos / '2.mp4')
        data, _ = read_video(str(videos / '2.mp4'), inferencer.pipeline)
        assert (clip == data['inputs'].numpy()).all()

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
                    assert clip.shape[1:] == (3, 64, 64)

        asyncio.run(leave())

    def test_memory_is_bounded(self, decode, tmp_path):
        pictures = (np.full((2304, 4096, 3), 10 * value, np.uint8) for value in range(20))
        path = write_video(tmp_path / 'large.avi', pictures, 'mjpeg', pix_fmt='yuvj420p')
        refused(lambda: decode(path, max_memory=64 * 2**20), (VideoError, MemoryError))
        assert decode(path).shape[1:] == (3, 64, 64)

    def test_a_crash_costs_its_video_only(self, decode, videos, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(decoding, 'decode_clip', crash)
            refused(lambda: decode(videos / '0.mp4'), ProcessExpired)
        assert decode(videos / '0.mp4').shape[1:] == (3, 64, 64)
