"""A folder of frames, read as a video is."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pan_mm.utils.errors import VideoError

from .file_lists import count_frames

MAX_BYTES = 2**26  # of a frame's file


class FrameFolder:
    """Reads frames of a folder by their number, as :class:`SparseReader` reads a video.

    Args:
        folder (str | Path): Holds frames of one kind, numbered without gaps.

    Attributes:
        avg_fps (float): 0, since a folder does not tell.
    """

    avg_fps = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        (self._template, self._first), self._length = count_frames(self._folder)

    def __len__(self) -> int:
        return self._length

    def get(self, indices: Sequence) -> list:
        """Read the frames of these numbers, in any order; each RGB, uint8, shape (H, W, 3)."""
        return [self._read(self._folder / self._template.format(self._first + i)) for i in indices]

    def _read(self, path):
        frame = None
        if path.is_file() and os.path.getsize(path) <= MAX_BYTES:
            frame = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if frame is None:
            raise VideoError(f'{path}: is not a picture of at most {MAX_BYTES // 2**20} MiB')
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
