"""Decode videos in processes that can be killed: a video may crash, stall or bloat its decoder.

Each video gets a process of its own, forked from one that has imported everything and decoded
nothing, with bounds on its memory, its processor time and the files that it writes.
"""

import asyncio
import math
import multiprocessing
import os
import resource
import signal
import struct
import time
import warnings
from collections.abc import AsyncGenerator
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple, Optional

import anyio
import numpy as np
import torch
from mmengine.dataset import Compose
from pebble import ProcessExpired, ProcessPool

from pan_mm.datasets.container import Limits as VideoLimits
from pan_mm.datasets.container import VideoTooLargeError, open_video
from pan_mm.datasets.decoding import SparseReader
from pan_mm.deploy.streaming.sources import FileSource
from pan_mm.inference.videos import read_video
from pan_mm.utils.errors import VideoError

from .limits import Limits
from .metrics import KILLED

CLIPS = TIMELINES = 2  # decoded at a time
HEADER = struct.Struct('<Qdii')  # of a frame: index, seconds, height, width


class Clip(NamedTuple):
    """Input of the model, as the test pipeline makes it of a video.

    Attributes:
        inputs (torch.Tensor): Frames as ``PackActionInputs`` packs them.
        num_frames (int): Frames of the video.
        seconds (float): Time that decoding took.
    """

    inputs: torch.Tensor
    num_frames: int
    seconds: float


class Decoder:
    """Decodes videos in a pool of processes.

    Args:
        pipeline (Compose): Opens and prepares a video, as in the config's test.
        limits (Limits): What a video may cost.
    """

    def __init__(self, pipeline: Compose, limits: Limits) -> None:
        preload()
        self._pipeline = pipeline
        self._limits = limits
        self._pool: Optional[ProcessPool] = None
        self._clips = asyncio.Semaphore(CLIPS)
        self._timelines = asyncio.Semaphore(TIMELINES)

    def start(self) -> bool:
        """Start the processes, also after their pool broke, unless they run.

        Returns:
            bool: False if they cannot be started.
        """
        try:
            return self._running_pool().active  # a new pool starts when it is looked at
        except BrokenProcessPool:
            return False

    def wait(self) -> None:
        """Wait until a video would be decoded at once."""
        self._schedule(int).result()

    def close(self) -> None:
        """Kill the processes; a later call of another method starts them again."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    async def clip(self, path: Path) -> Clip:
        """Decode what the model is to see.

        Raises:
            VideoTooLargeError: If the video exceeds a limit.
            VideoError: If it is not a video, is damaged, or crashes its decoder.
        """
        seconds = self._limits.timeout / 2
        async with self._clips:
            future = self._schedule(decode_clip, path, self._pipeline, self._limits)
            try:
                with anyio.fail_after(seconds):
                    inputs, *counts = await asyncio.wrap_future(future)
            except TimeoutError:
                raise VideoTooLargeError(
                    f'decoding the video takes more than {seconds:g} s; make it shorter or smaller'
                ) from None
            except MemoryError:
                raise VideoTooLargeError(
                    'decoding the video needs too much memory; make it smaller'
                ) from None
            except ProcessExpired:
                raise VideoError(
                    'the decoder broke down at the file; it is damaged, or needs too much memory'
                ) from None
            finally:
                self._kill(future)
        return Clip(torch.from_numpy(inputs), *counts)

    async def frames(self, path: Path, stride: int, length: int) -> AsyncGenerator[tuple, None]:
        """Decode a video frame by frame, as fast as they are taken; close the iterator.

        Args:
            path (Path): As it was given to :meth:`clip`. A named pipe is made beside it.
            stride (int): Frames from the start of a segment to that of the next.
            length (int): Frames of a segment; others are left out.

        Yields:
            tuple[int, float, np.ndarray]: Index, seconds, and RGB, uint8, shape (H, W, 3).

        Raises:
            VideoError: If frames are missing because the video is damaged.
            ProcessExpired: If it crashes its decoder.
        """
        pipe = path.with_name('frames')
        os.mkfifo(pipe, 0o600)
        async with self._timelines:
            reader = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader),
                os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), 'rb', buffering=0),
            )
            future = self._schedule(send_frames, path, pipe, stride, length)
            try:
                while header := await _read(reader, HEADER.size):
                    index, seconds, height, width = HEADER.unpack(header)
                    image = np.frombuffer(await _read(reader, height * width * 3), np.uint8)
                    yield index, seconds, image.reshape(height, width, 3)
                await asyncio.wrap_future(future)
            finally:
                self._kill(future)
                transport.close()

    def _schedule(self, function, *args):
        return self._running_pool().schedule(function, args=args)

    def _running_pool(self) -> ProcessPool:
        if self._pool is None or not self._pool.active:
            self.close()
            seconds = math.ceil(self._limits.timeout) + 1
            self._pool = ProcessPool(
                CLIPS + TIMELINES,
                max_tasks=1,
                initializer=confine,
                initargs=(self._limits.max_memory, self._limits.max_bytes, seconds),
                context=multiprocessing.get_context('forkserver'),
            )
        return self._pool

    def _kill(self, future):
        future.cancel()  # has no effect on what is done
        if future.cancelled():
            KILLED.inc()


async def _read(reader, size):
    """Read so many bytes, or none at the end."""
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError:
        return b''


def preload() -> None:
    """Begin to start the process that decoders are forked from: it imports for seconds."""
    multiprocessing.get_context('forkserver').set_forkserver_preload([__name__, 'av', 'cv2'])
    forkserver.ensure_running()


# In the process that decodes ------------------------------------------------------------------


def confine(memory: int, file: int, seconds: int) -> None:
    """Bound what this process may take, and let it be ended at once.

    Args:
        memory (int): Bytes beyond those that it has.
        file (int): Bytes of a file that it writes.
        seconds (int): Processor time.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    there = 0
    with suppress(OSError):  # Linux
        there = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, there + memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        with suppress(ValueError, OSError):  # macOS knows no RLIMIT_AS
            resource.setrlimit(kind, (most, most))


def check_video(path: Path, limits: Limits) -> int:
    """Refuse a file that is not a video, or too much of one, before it is decoded.

    Returns:
        int: Its frames, counted.

    Raises:
        VideoTooLargeError: If it is too long or too large.
        VideoError: If it is not a video.
    """
    allowed = VideoLimits(limits.max_bytes, int(limits.max_work), limits.max_pixels)
    with open_video(path, allowed, name='the file') as video:
        reader = SparseReader(video)
    seconds = len(reader) / (reader.avg_fps or 60)
    if seconds > limits.max_seconds:
        raise VideoTooLargeError(
            f'the video lasts {seconds:.0f} s, and at most {limits.max_seconds:.0f} s are '
            'allowed; cut it'
        )
    return len(reader)


def decode_clip(path: Path, pipeline: Compose, limits: Limits) -> tuple:
    """Run the test pipeline on a video.

    Returns:
        tuple[np.ndarray, int, float]: The fields of :class:`Clip`.

    Raises:
        VideoTooLargeError: If a limit is exceeded.
        VideoError: If it is not a healthy video.
    """
    began = time.perf_counter()
    num_frames = check_video(path, limits)
    data, error = read_video(str(path), pipeline)
    if error is not None:
        raise VideoError(error.replace(str(path), 'the file'))
    height, width = data['inputs'].shape[-2:]
    if height * width > limits.max_input:
        raise VideoTooLargeError(
            f'this model takes frames as they are, and {width} × {height} pixels are too many '
            'for it; make the video smaller'
        )
    return data['inputs'].numpy(), num_frames, round(time.perf_counter() - began, 4)


def send_frames(path: Path, pipe: Path, stride: int, length: int) -> None:
    """Write the frames that segments need into a named pipe; see :meth:`Decoder.frames`."""
    warnings.simplefilter('ignore', UserWarning)  # of a truncated file
    with open(pipe, 'wb') as file:
        for frame in FileSource(path):
            if (frame.index - stride // 2) % stride < length:
                file.write(HEADER.pack(frame.index, frame.timestamp, *frame.image.shape[:2]))
                file.write(frame.image.tobytes())
