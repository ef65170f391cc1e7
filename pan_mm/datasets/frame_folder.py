"""A folder of frames, read as a video is."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pan_mm.utils.errors import DataError, VideoError

from .file_lists import count_frames

MAX_BYTES = 2**26  # of a frame's file


class FrameFolder:
    """Reads frames of a folder by their number, as :class:`SparseReader` reads a video.

    Args:
        folder (str | Path): Holds frames of one kind, numbered without gaps.

    Attributes:
        avg_fps (float): 0, since a folder does not tell.

    Raises:
        VideoError: If it does not hold such frames.
    """

    avg_fps = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        try:
            self._names, self._length = count_frames(self._folder)
        except DataError as error:
            raise VideoError(str(error)) from error

    def __len__(self) -> int:
        return self._length

    def get(self, indices: Sequence) -> list:
        """Read the frames of these numbers, in any order; each RGB, uint8, shape (H, W, 3)."""
        return [self._read(int(index)) for index in indices]

    def _read(self, index):
        template, first = self._names
        path = self._folder / template.format(first + index)
        if not path.is_file() or os.path.getsize(path) > MAX_BYTES:
            raise VideoError(f'{path}: no file of at most {MAX_BYTES // 2**20} MiB')
        try:
            frame = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as error:  # more pixels than OpenCV is allowed to read
            raise VideoError(f'{path}: cannot be read ({error})') from error
        if frame is None:
            raise VideoError(f'{path}: is not a picture, or is damaged')
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
