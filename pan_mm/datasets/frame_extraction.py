"""Frames of videos as JPEG files, for ``RawframeDataset``."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Optional, Union

import mmcv
import numpy as np

from pan_mm.utils.errors import DataError

from .decoding import VideoDecode, VideoInit
from .file_lists import VIDEO_SUFFIXES

BLOCK = 64  # frames decoded at once


def folders_of_frames(src: Union[str, Path], out: Union[str, Path]) -> dict:
    """Where the frames of all videos in a folder go: SRC/CLASS/video.mp4 to OUT/CLASS/video.

    Links are followed, hidden files left out.

    Returns:
        dict[Path, Path]: The folder of each video, in order.

    Raises:
        DataError: If there are no videos, or two of them would share a folder.
    """
    if not os.path.isdir(src):
        raise DataError(f'{src}: no such folder of videos')
    videos = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(src, followlinks=True)
        for name in names
        if name[0] != '.' and name.lower().endswith(VIDEO_SUFFIXES)
    )
    if not videos:
        raise DataError(f'{src}: no videos in it ({" ".join(VIDEO_SUFFIXES)})')
    folders = {video: Path(out, video.relative_to(src)).with_suffix('') for video in videos}
    owners: dict = {}
    for video, folder in folders.items():
        other = owners.setdefault(folder, video)
        if other != video:
            raise DataError(f'{other} and {video} would share {folder}; rename one of them')
    return folders


def extract_frames(
    video: Union[str, Path],
    folder: Union[str, Path],
    short_side: Optional[int] = None,
    quality: int = 95,
) -> None:
    """Write the frames of a video as img_00001.jpg and so on, all of them or none.

    Args:
        video (str | Path): File.
        folder (str | Path): Is made; it must not be there.
        short_side (int, optional): Pixels that frames are scaled to. By default they keep their
            size.
        quality (int): JPEG quality. Defaults to 95.

    Raises:
        VideoError: If the video cannot be decoded.
        OSError: If the frames cannot be written.
    """
    part = f'{folder}.part'
    shutil.rmtree(part, ignore_errors=True)
    try:
        start, number = 0, 1
        while start < number:
            results = VideoInit().transform(dict(filename=str(video)))  # PyAV cannot go back
            number = results['total_frames']
            results['frame_inds'] = np.arange(start, min(start + BLOCK, number))
            results = VideoDecode().transform(results)
            for i, image in enumerate(results['imgs'], start + 1):
                if short_side:
                    image = mmcv.imrescale(image, (short_side, sys.maxsize))
                mmcv.imwrite(
                    mmcv.rgb2bgr(image), f'{part}/img_{i:05}.jpg', [1, quality]
                )  # 1 is cv2.IMWRITE_JPEG_QUALITY
            start += BLOCK
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def extract_all(
    folders: Mapping, workers: int = 4, short_side: Optional[int] = None, quality: int = 95
) -> Iterator[Optional[BaseException]]:
    """:func:`extract_frames` of many videos, in processes.

    Args:
        folders (dict[Path, Path]): The folder of each video.
        workers (int): Processes. Defaults to 4.
        short_side (int, optional): As of :func:`extract_frames`.
        quality (int): As of :func:`extract_frames`.

    Yields:
        For each video, when it is done, what went wrong with it, or None.
    """
    with ProcessPoolExecutor(workers, initializer=_end_on_interrupt) as pool:
        jobs = [
            pool.submit(extract_frames, *paths, short_side, quality) for paths in folders.items()
        ]
        try:
            for job in as_completed(jobs):
                yield job.exception()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_on_interrupt():
    """Let Ctrl-C, unless it is ignored, end a process, not only the video that it is at."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
