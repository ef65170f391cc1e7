"""Finding and reading the videos that files, folders, globs and lists mean."""

import glob
import itertools
import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import forkserver, resource_tracker
from typing import Any, Optional

import cv2
import torch

from pan_mm.config.pipelines import video_info
from pan_mm.datasets.checks import read_lines
from pan_mm.datasets.container import VIDEO_SUFFIXES
from pan_mm.datasets.file_lists import FRAME_SUFFIXES, is_frame
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import DataError

AHEAD = 4  # videos that wait for a process, of each process
TIMEOUT = 600  # seconds that a video may take


def find_videos(inputs: Iterable, expand: Optional[Callable] = None) -> list:
    """Expand inputs to files, each once, in a fixed order.

    Args:
        inputs (Iterable[str | Path]): Each a file, which need not exist, a folder (all its videos,
            however deep, or all its folders of frames), a glob such as ``'clips/**/*.mp4'``,
            or ``@FILE``, a list with a file, folder or glob a line.
        expand (Callable, optional): Takes one of these, no list, and gives its files. Defaults to
            :func:`expand_local`.

    Raises:
        ValueError: If a folder, glob or list gives nothing, or a name holds a password.
    """
    found = {}
    for item in map(os.fspath, inputs):
        is_list = item.startswith('@') and not os.path.exists(item)
        for name in read_list(item[1:]) if is_list else [item]:
            if redact_url(name) != name:  # it would show up in the results
                raise ValueError(f'{redact_url(name)}: name videos without a password')
            found.update(dict.fromkeys((expand or expand_local)(name)))
    return list(found)


def expand_local(item: str) -> list:
    """List the videos of a file, a folder or a glob on this machine."""
    if os.path.isdir(item):
        found = list(os.walk(item))
        paths = (os.path.join(folder, file) for folder, _, files in found for file in files)
        videos = sorted(path for path in paths if is_video(path))
        videos = videos or sorted(folder for folder, _, files in found if any(map(is_frame, files)))
    elif glob.has_magic(item) and not os.path.exists(item):
        videos = sorted(path for path in glob.glob(item, recursive=True) if os.path.isfile(path))
    else:
        return [item]
    if not videos:
        suffixes = ', '.join((*VIDEO_SUFFIXES, *FRAME_SUFFIXES))
        raise ValueError(f'{item}: matches no file, or holds no videos or frames ({suffixes})')
    return videos


def read_list(path: str) -> list:
    """Read a list of videos, without empty lines."""
    items = [line.strip() for line in read_lines(path) if line.strip()]
    if not items:
        raise DataError(f'{path}: this list of videos is empty')
    return items


def is_video(path: str) -> bool:
    """Tell whether a file is a video by its suffix."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def read_videos(videos: Iterable, pipeline: Callable, workers: int = 0) -> Iterator[tuple]:
    """Open and prepare videos, in the order given.

    Args:
        videos (Iterable[str]): Files.
        pipeline (Callable): Takes what :func:`pan_mm.config.pipelines.video_info` gives.
        workers (int): Processes that do it, or 0: this one. Defaults to 0.

    Yields:
        tuple: The video, and the pipeline's output and None, or None and the video's fault.
    """
    if not workers:
        yield from ((video, *read_video(video, pipeline)) for video in videos)
        return
    with start_pool(workers) as pool:
        for video, packed, error in read_in_pool(videos, pipeline, pool, AHEAD * workers):
            yield video, packed and pickle.loads(packed), error


def start_pool(workers: int):
    """Start a pool of processes that read videos; gives a ``pebble.ProcessPool``."""
    from pebble import ProcessPool

    # Not forked from this process: its threads may hold locks that a copy waits for, for ever.
    context = multiprocessing.get_context('forkserver' if os.name == 'posix' else None)
    return ProcessPool(workers, initializer=_begin_worker, context=context)


def read_in_pool(videos: Iterable, pipeline: Callable, pool: Any, ahead: int) -> Iterator[tuple]:
    """Read videos as :func:`read_videos` in a pool, with some in it ahead of the one yielded.

    The pipeline's output is pickled.
    """
    waiting = deque()
    for video in itertools.chain(videos, [None] * ahead):
        if video is not None:
            found = pool.schedule(_read_packed, (video, pipeline), timeout=TIMEOUT)
            waiting.append((video, found))
        if waiting and (video is None or len(waiting) > ahead):
            yield _result(*waiting.popleft())


def preload(*modules: str) -> None:
    """Import the libraries of workers in the process that these are forked from, meanwhile."""
    if os.name == 'posix':
        multiprocessing.set_forkserver_preload([__name__, 'mmaction.datasets', *modules])
        resource_tracker.ensure_running()  # or the next call starts it, which unblocks the signal
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # Ctrl-C is not for it
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin_worker():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the main process does about it
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    cv2.setNumThreads(0)


def _read_packed(video, pipeline):
    # As bytes: PyTorch would leave tensors in memory that goes with the process.
    data, error = read_video(video, pipeline)
    return None if error else pickle.dumps(data, pickle.HIGHEST_PROTOCOL), error


def _result(video, future):
    from pebble import ProcessExpired

    try:
        return (video, *future.result())
    except ProcessExpired as error:
        return video, None, f'its decoder crashed (status {error.exitcode}); remove or replace it'
    except TimeoutError:
        return video, None, f'not decoded within {TIMEOUT} s; cut or replace it'


def read_video(video: str, pipeline: Callable) -> tuple:
    """Open and prepare a video; give its inputs or None, and its fault or None."""
    try:
        return pipeline(video_info(video)), None
    except ImportError:  # a missing library is not the file's fault
        raise
    except Exception as error:
        if isinstance(error.__cause__ or error, FileNotFoundError):
            return None, 'no such file'
        return None, str(error).removeprefix(f'{video}: ') or type(error).__name__
