"""Decoding in processes of their own: what is refused, and how they are ended."""

import asyncio
import os
import time
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import av
import cv2
import numpy as np
import pytest

from pan_mm.datasets.container import VideoTooLargeError
from pan_mm.deploy.server.decoding import Decoder, check_video, decode_clip
from pan_mm.deploy.server.limits import Limits
from pan_mm.deploy.server.metrics import KILLED
from pan_mm.deploy.streaming.sources import FileSource
from pan_mm.utils.errors import VideoError

from .conftest import wait

LIMITS = Limits(timeout=600)


@pytest.fixture
def run(inferencer):
    """Calls a function of a decoder, with some limits, in an event loop."""

    def call(function, **limits):
        async def inside():
            decoder = Decoder(inferencer.pipeline, LIMITS._replace(**limits))
            try:
                decoder.wait()
                return await function(decoder)
            finally:
                decoder.close()

        return asyncio.run(inside())

    return call


def refused(call, kind, words=None):
    with pytest.raises(kind, match=words) as refusal:
        call()
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
        text = refused(lambda: check_video(videos / '1.mp4', limits), VideoTooLargeError, message)
        assert str(videos) not in text

    def test_small_to_send_and_slow_to_decode(self, heavy):
        assert heavy.stat().st_size < LIMITS.max_bytes
        refused(lambda: check_video(heavy, LIMITS), VideoTooLargeError, '4096 × 2304')

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
            text = refused(lambda name=name: check_video(tmp_path / name, Limits()), VideoError)
            assert str(tmp_path) not in text

    def test_transport_stream(self, tmp_path):
        path = tmp_path / 'a.ts'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 25, (64, 48))
        for value in range(12):
            writer.write(np.full((48, 64, 3), 20 * value, np.uint8))
        writer.release()
        assert path.read_bytes()[:1] == b'G'
        assert check_video(path, Limits()) == 12

    def test_a_video_that_does_not_say_how_long_it_is(self, run, videos, tmp_path):
        """Browsers record such files."""
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
        clip = run(lambda decoder: decoder.clip(path))
        assert clip.num_frames == 36
        expected = run(lambda decoder: decoder.clip(videos / '3.mp4')).inputs
        assert (clip.inputs.float() - expected.float()).abs().mean() < 5
        assert os.listdir(tmp_path) == [path.name]  # nothing is written


def abort(*args):
    os._exit(3)


def count_children():
    """Processes that decode: those of the process that decoders are forked from."""
    from multiprocessing.forkserver import _forkserver

    pid = _forkserver._forkserver_pid
    return len(Path(f'/proc/{pid}/task/{pid}/children').read_text().split())


class TestDecoder:
    def test_gives_what_the_pipeline_gives(self, inferencer, run, videos):
        clip = run(lambda decoder: decoder.clip(videos / '2.mp4'))
        inputs, num_frames, _ = decode_clip(videos / '2.mp4', inferencer.pipeline, LIMITS)
        assert clip.num_frames == num_frames == 28
        assert (clip.inputs.numpy() == inputs).all()
        assert clip.seconds > 0

    def test_frames_that_segments_need(self, run, videos, tmp_path):
        async def read(decoder):
            async with aclosing(decoder.frames(tmp_path / '0.mp4', 8, 3)) as frames:
                return [frame async for frame in frames]

        (tmp_path / '0.mp4').write_bytes((videos / '0.mp4').read_bytes())
        expected = list(FileSource(videos / '0.mp4'))
        found = run(read)
        assert [index for index, _, _ in found] == [4, 5, 6]
        for index, seconds, image in found:
            assert seconds == expected[index].timestamp
            assert (image == expected[index].image).all()

    def test_frames_of_what_is_no_video(self, run, tmp_path):
        async def read(decoder):
            async with aclosing(decoder.frames(tmp_path / 'a.mp4', 8, 3)) as frames:
                return [frame async for frame in frames]

        (tmp_path / 'a.mp4').write_bytes(b'no video')
        refused(lambda: run(read), VideoError, 'is not a video')

    def test_frames_too_large_for_the_network(self, run, videos):
        words = '64 × 64 pixels are too many'
        call = lambda decoder: decoder.clip(videos / '0.mp4')  # noqa: E731
        refused(lambda: run(call, max_input=64 * 64 - 1), VideoTooLargeError, words)

    def test_is_killed_at_the_deadline(self, run, heavy):
        """A file that no count gives away; others are decoded afterwards."""

        async def decode(decoder):
            before, killed = count_children(), KILLED._value.get()
            with pytest.raises(VideoTooLargeError, match='takes more than 1 s'):
                await decoder.clip(heavy)
            assert KILLED._value.get() == killed + 1
            await anyio.to_thread.run_sync(wait, lambda: count_children() == before)

        run(decode, max_work=1e15, timeout=2)

    def test_is_killed_when_nobody_waits(self, run, heavy, videos, tmp_path):
        async def decode(decoder):
            killed = KILLED._value.get()
            with anyio.move_on_after(1):
                await decoder.clip(heavy)
            (tmp_path / 'heavy.mkv').symlink_to(heavy)
            async with aclosing(decoder.frames(tmp_path / 'heavy.mkv', 1, 1)) as frames:
                await anext(frames)
            assert KILLED._value.get() == killed + 2
            for _ in range(5):
                assert (await decoder.clip(videos / '0.mp4')).num_frames == 12

        run(decode, max_work=1e15, timeout=100)

    def test_memory_is_bounded(self, run, tmp_path):
        path = tmp_path / 'large.avi'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 25, (4096, 2304))
        for _ in range(20):
            writer.write(np.zeros((2304, 4096, 3), np.uint8))
        writer.release()
        call = lambda decoder: decoder.clip(path)  # noqa: E731
        refused(lambda: run(call, max_memory=64 * 2**20), VideoError)
        assert run(call).num_frames == 20

    def test_a_crash_is_the_files_fault(self, run, videos, monkeypatch):
        async def decode(decoder):
            with monkeypatch.context() as patch:
                patch.setattr('pan_mm.deploy.server.decoding.decode_clip', abort)
                with pytest.raises(VideoError, match='broke down'):
                    await decoder.clip(videos / '0.mp4')
            return await decoder.clip(videos / '0.mp4')

        assert run(decode).num_frames == 12

    def test_a_broken_pool_is_made_again(self, run, videos):
        """Such as one whose idle process the system killed for memory."""

        async def decode(decoder):
            await decoder.clip(videos / '0.mp4')
            for pid in list(decoder._pool._pool_manager.worker_manager.workers):
                with suppress(ProcessLookupError):  # the one that decoded ends by itself
                    os.kill(pid, 9)
            await anyio.to_thread.run_sync(wait, lambda: not decoder._pool.active)
            assert decoder.start()
            return await decoder.clip(videos / '0.mp4')

        assert run(decode).num_frames == 12

    def test_the_clock_may_jump(self, run, videos, monkeypatch):
        """Deadlines are measured on the monotonic clock."""

        async def decode(decoder):
            for jump in (-86_400, 31_536_000):
                now = time.time() + jump
                monkeypatch.setattr(time, 'time', lambda now=now: now)
                assert (await decoder.clip(videos / '0.mp4')).num_frames == 12

        run(decode)
