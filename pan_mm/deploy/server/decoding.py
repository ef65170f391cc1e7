"""Decoding in processes that can be ended: a video may crash, stall or bloat its decoder.

Each video gets a process of its own, forked from one that has imported all and decoded nothing. Its
memory, its processor time and the files that it writes are bounded, and it is killed at its
deadline. What it gives comes back as JSON and raw bytes, which run nothing here.
"""

import json
import math
import multiprocessing
import resource
import signal
import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import Compose

from pan_mm.datasets.container import Limits as VideoLimits
from pan_mm.datasets.container import VideoTooLargeError, open_video
from pan_mm.datasets.decoding import SparseReader
from pan_mm.deploy.streaming.sources import FileSource
from pan_mm.inference.videos import read_video
from pan_mm.utils.errors import VideoError

from .limits import TICK, Deadline, Limits, Refusal

LONGEST = 2**31 - 1  # bytes of a message


class Clip(NamedTuple):
    """What the test pipeline makes of a video.

    Attributes:
        inputs (torch.Tensor): Frames as ``PackActionInputs`` packs them.
        num_frames (int): Frames of the video.
    """

    inputs: torch.Tensor
    num_frames: int


class Decoder:
    """Decodes videos in processes of their own.

    Args:
        pipeline (Compose): Opens and prepares a video, as in the config's test.
        limits (Limits): What a video may cost.

    Attributes:
        killed (int): Processes that did not end by themselves.
    """

    def __init__(self, pipeline: Compose, limits: Limits) -> None:
        warm_up()
        self.killed = 0
        self._pipeline = pipeline
        self._limits = limits

    def wait(self) -> None:
        """Wait until a decoder can be started at once."""
        list(self._run(Deadline(3600), iter, ()))

    def clip(self, path: Path, deadline: Deadline) -> Clip:
        """Decode what the model is to see.

        Raises:
            Refusal: 413 if the video is too much, 422 if it is not a healthy one, 503 if the
                deadline came before its own share of time was over.
        """
        ((header, inputs),) = self._run(deadline, decode_clip, path, self._pipeline, self._limits)
        return Clip(torch.from_numpy(inputs), header['num_frames'])

    def frames(self, path: Path, deadline: Deadline, keep: tuple) -> Generator[tuple, None, None]:
        """Decode a video frame by frame, as fast as they are taken; close it to end it.

        Args:
            path (Path): As it was given to :meth:`clip`.
            deadline (Deadline): When it ends.
            keep (tuple[int, int]): Frames from the start of a segment to that of the next, and
                frames of a segment; others are left out.

        Yields:
            tuple[int, float, np.ndarray]: Index, seconds, and RGB, uint8, shape (H, W, 3).

        Raises:
            Refusal: As :meth:`clip`.
        """
        for header, image in self._run(deadline, decode_frames, path, *keep, waits=True):
            yield header['index'], header['seconds'], image

    def _run(self, deadline, job, *args, waits=False):
        """Messages of a job; ``waits`` says that its time is the reader's too."""
        ours, theirs = _context().Pipe(duplex=False)
        seconds = self._limits.timeout if waits else self._limits.timeout / 2
        limits = self._limits.max_memory, self._limits.max_bytes, seconds
        process = _context().Process(target=_work, args=(theirs, limits, job, args), daemon=True)
        process.start()
        theirs.close()
        own, done = Deadline(seconds), False
        try:
            while True:
                while not ours.poll(min(TICK, own.left, deadline.left)):
                    if not deadline.left:
                        raise Refusal(503, 'the server had no time left for it; try again later')
                    if not own.left:
                        raise Refusal(
                            413,
                            f'decoding the video takes more than {seconds:g} s; make it shorter '
                            'or smaller',
                        )
                header = json.loads(ours.recv_bytes(LONGEST))
                done = not header.get('dtype')
                if 'refusal' in header:
                    raise Refusal(*header['refusal'])
                if 'fault' in header:
                    raise RuntimeError(f'the server cannot decode: {header["fault"]}')
                if done:
                    return
                array = np.frombuffer(bytearray(ours.recv_bytes(LONGEST)), header.pop('dtype'))
                yield header, array.reshape(header.pop('shape'))
        except (EOFError, OSError):
            raise Refusal(
                422, 'the decoder broke down at the file; it is damaged, or needs too much memory'
            ) from None
        finally:
            process.join(1 if done else 0)
            if process.exitcode is None:
                process.kill()
                self.killed += 1
                process.join()
            process.close()
            ours.close()


def warm_up() -> None:
    """Begin to start what decoders are forked from: it imports for seconds."""
    _context().set_forkserver_preload([__name__, 'av', 'decord', 'cv2'])
    forkserver.ensure_running()


def _context():
    return multiprocessing.get_context('forkserver')


# In the process that decodes ------------------------------------------------------------------


def _work(connection, limits, job, args):
    """Send what a job gives, each a note in JSON and an array's bytes; at last an empty note."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the server ends this process
    _confine(*limits)
    torch.set_num_threads(1)
    try:
        for note, array in job(*args):
            note.update(dtype=array.dtype.str, shape=array.shape)
            connection.send_bytes(json.dumps(note).encode())
            connection.send_bytes(memoryview(np.ascontiguousarray(array)).cast('B'))
        note = {}
    except Refusal as refusal:
        note = dict(refusal=[refusal.status, str(refusal)])
    except BrokenPipeError:
        return
    except MemoryError:
        note = dict(refusal=[413, 'decoding the video needs too much memory; make it smaller'])
    except Exception as error:
        traceback.print_exc()
        note = dict(fault=repr(error))
    connection.send_bytes(json.dumps(note).encode())


def _confine(memory, file, seconds):
    """Bound what this process may take, were the server to die and leave it."""
    there = 0
    with suppress(OSError):  # Linux
        there = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, there + memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CPU, math.ceil(seconds) + 1),
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
        Refusal: 422 for what is not a video, 413 for one that is too long or too large.
    """
    allowed = VideoLimits(limits.max_bytes, int(limits.max_work), limits.max_pixels)
    try:
        with open_video(path, allowed, name='the file') as video:
            reader = SparseReader(video)
        frames, rate = len(reader), reader.avg_fps
    except VideoTooLargeError as error:
        raise Refusal(413, str(error)) from error
    except VideoError as error:
        raise Refusal(422, str(error)) from error
    if frames > limits.max_seconds * (rate or 60):
        raise Refusal(
            413,
            f'the video lasts {frames / (rate or 60):.0f} s, and at most '
            f'{limits.max_seconds:.0f} s are allowed; cut it',
        )
    return frames


def decode_clip(path: Path, pipeline: Compose, limits: Limits) -> Iterator[tuple]:
    """What the test pipeline makes of a video, and how many frames it has; for ``Decoder.clip``."""
    num_frames = check_video(path, limits)
    data, error = read_video(str(path), pipeline)
    if error is not None:
        raise Refusal(422, error.replace(str(path), 'the file'))
    height, width = data['inputs'].shape[-2:]
    if height * width > limits.max_input:
        raise Refusal(
            413,
            f'this model takes frames as they are, and {width} × {height} pixels are too many '
            'for it; make the video smaller',
        )
    yield dict(num_frames=num_frames), data['inputs'].numpy()


def decode_frames(path: Path, stride: int, length: int) -> Iterator[tuple]:
    """Frames of a video that its segments need; for ``Decoder.frames``."""
    warnings.simplefilter('ignore', UserWarning)  # of a truncated file
    try:
        for frame in FileSource(path):
            if (frame.index - stride // 2) % stride < length:
                yield dict(index=frame.index, seconds=frame.timestamp), frame.image
    except VideoError as error:
        raise Refusal(422, str(error).replace(str(path), 'the file')) from error
