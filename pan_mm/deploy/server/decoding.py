"""Decode each video in a process of its own: a video may crash, stall or bloat its decoder.

The process is forked from one that has imported everything and decoded nothing. Its memory, its
processor time and the files that it writes are bounded, and it is killed at its deadline.
"""

import asyncio
import math
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose
from pebble import concurrent

from pan_mm.datasets.container import Limits as VideoLimits
from pan_mm.datasets.container import VideoTooLargeError, open_video
from pan_mm.datasets.decoding import SparseReader
from pan_mm.inference import videos
from pan_mm.utils.errors import VideoError

from .limits import Limits

CONTEXT = multiprocessing.get_context('forkserver')


class Decoder:
    """Decodes videos for several requests at once, by the test pipeline of a config."""

    def __init__(self, pipeline: Compose, limits: Limits) -> None:
        preload()
        self._pipeline = pipeline
        self._limits = limits
        self._places = asyncio.Semaphore(limits.decoding)

    @asynccontextmanager
    async def __call__(self, path: Path) -> AsyncIterator[np.ndarray]:
        """Decode the model's input; the process is killed if the caller is cancelled.

        The next video is decoded when this one's context is left, so that few clips are in memory.
        Raises ``VideoError``, ``MemoryError``, ``asyncio.TimeoutError`` after half of ``timeout``,
        and pebble's ``ProcessExpired`` if the decoder crashes.
        """
        async with self._places:
            yield await self._run(decode_clip, path, self._pipeline, self._limits)

    async def check(self) -> None:
        """Start and end a process; raises an error if that cannot be done."""
        await self._run(int)

    def _run(self, function, *args):
        start = concurrent.process(timeout=self._limits.timeout / 2, context=CONTEXT)
        return asyncio.wrap_future(start(function)(*args))


def preload() -> None:
    """Begin to start the process that decoders are forked from: it imports for seconds."""
    videos.preload(__name__, 'av', 'cv2')


# In the process that decodes ------------------------------------------------------------------


def confine(limits: Limits) -> None:
    """Bound what this process may take, and let it be ended at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_server, daemon=True).start()
    torch.set_num_threads(1)
    there = 0
    with suppress(OSError):  # Linux
        there = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, there + limits.max_memory),
        (resource.RLIMIT_FSIZE, limits.max_bytes),
        (resource.RLIMIT_CPU, math.ceil(limits.timeout) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        with suppress(ValueError, OSError):  # macOS knows no RLIMIT_AS
            resource.setrlimit(kind, (most, most))


def _end_with_server():
    server = multiprocessing.parent_process()
    if server is not None:  # this is not the server's own process
        server.join()
        os._exit(1)


def check_video(path: Path, limits: Limits) -> None:
    """Refuse a file that is not a video, or too much of one, before it is decoded."""
    allowed = VideoLimits(limits.max_bytes, limits.max_work, limits.max_pixels)
    with open_video(path, allowed, name='the file') as video:
        reader = SparseReader(video)
    seconds = len(reader) / (reader.avg_fps or 60)
    if seconds > limits.max_seconds:
        raise VideoTooLargeError(
            f'the video lasts {seconds:.0f} s, and at most {limits.max_seconds:.0f} s are '
            'allowed; cut it'
        )


def decode_clip(path: Path, pipeline: Compose, limits: Limits) -> np.ndarray:
    """Run the test pipeline on a video, within bounds; see :meth:`Decoder.__call__`."""
    confine(limits)
    check_video(path, limits)
    data, error = videos.read_video(str(path), pipeline)
    if error is not None:
        raise VideoError(error.replace(str(path), 'the file'))
    height, width = data['inputs'].shape[-2:]
    if height * width > limits.max_input:
        raise VideoTooLargeError(
            f'this model takes frames as they are, and {width} × {height} pixels are too many '
            'for it; make the video smaller'
        )
    return data['inputs'].numpy()
