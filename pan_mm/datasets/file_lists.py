"""Annotation lists for ``VideoDataset`` and ``RawframeDataset`` of the files on the disk."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

from pan_mm.utils.errors import DataError
from pan_mm.utils.files import write_text

from .checks import read_lines
from .container import VIDEO_SUFFIXES

FRAME_SUFFIXES = ('.jpg', '.jpeg', '.png')
SPLITS = ('train', 'val')


class FrameNames(NamedTuple):
    """Names of the frames in a folder, as ``RawframeDataset`` takes them."""

    filename_tmpl: str
    start_index: int


class Video(NamedTuple):
    """A line of an annotation list."""

    path: str
    label: int
    num_frames: Optional[int] = None  # of a folder of frames; None for a video file

    def to_line(self, delimiter: str = ' ') -> str:
        """Write the line."""
        fields = [self.path, self.num_frames, self.label]
        return delimiter.join(str(field) for field in fields if field is not None)

    @classmethod
    def from_line(cls, line: str, delimiter: str = ' ') -> 'Video':
        """Read a line that :meth:`to_line` has written."""
        path, *numbers = line.split(delimiter)
        *num_frames, label = map(int, numbers)
        return cls(path, label, *num_frames)


def read_label_map(path: Union[str, Path]) -> list:
    """Read a ``label_map.txt``: class names, one per line, in the order of the labels."""
    names = '\n'.join(read_lines(path)).rstrip().split('\n')
    names = [name.strip() for name in names]
    seen: set = set()
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            fault = f'class {name!r} is listed twice' if name else 'empty line'
            raise DataError(f'{path}:{number}: {fault}; each line must name a class of its own')
        seen.add(name)
    return names


def _images(folder: Path) -> list:
    return [name for name in os.listdir(folder) if is_frame(name)]


def is_frame(name: str) -> bool:
    """Tell whether a file is a frame of a video by its name."""
    return name.lower().endswith(FRAME_SUFFIXES) and name[0] != '.'


def holds_frames(folder: Union[str, Path]) -> bool:
    """Tell whether a folder holds frames of a video."""
    return bool(_images(Path(folder)))


def list_folder(root: str) -> tuple:
    """List the videos of a folder per class, or of ``train`` and ``val`` with a folder per class.

    Videos are files, or folders of frames, at any depth. Hidden ones do not count.

    Returns:
        tuple[list[str], list[Video]]: The class names in alphabetical order, and the videos, with
        paths relative to ``root``.
    """
    tops = [Path(root, split) for split in SPLITS] if is_split(root) else [Path(root)]
    entries = [entry for top in tops for entry in top.iterdir() if entry.name[0] != '.']
    classes = sorted({entry.name for entry in entries if entry.is_dir()})
    if len(classes) < 2:
        found = ', '.join(classes) or 'none'
        raise DataError(f'{root}: must hold a folder for each of two classes; found {found}')
    return classes, [
        Video(path.relative_to(root).as_posix(), label, num_frames)
        for label, name in enumerate(classes)
        for top in tops
        for path, num_frames in _videos_below(top / name)
    ]


def is_split(root: str) -> bool:
    """Test if a folder holds ``train`` and ``val``, so that its split is kept."""
    return all(Path(root, split).is_dir() for split in SPLITS)


def _videos_below(folder: Path) -> Iterator[tuple]:
    for path in sorted(folder.rglob('*')):
        if any(part[0] == '.' for part in path.relative_to(folder).parts):
            continue  # macOS puts some beside each video
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            yield path, None
        elif path.is_dir() and _images(path):
            yield path, count_frames(path)[1]


def frame_names(root: str, videos: Sequence[Video]) -> Optional[FrameNames]:
    """Find the names that the frames of all videos have in common; None for video files."""
    kinds: dict = {}
    for video in videos:
        is_folder = video.num_frames is not None
        kind = count_frames(Path(root, video.path))[0] if is_folder else None
        kinds.setdefault(kind, video.path)
    if len(kinds) > 1:
        found = ', '.join(list(kinds.values())[:3])
        raise DataError(
            f'{root}: keep one kind, videos or frames that are called the same; differs in {found}'
        )
    return next(iter(kinds), None)


def count_frames(folder: Path) -> tuple:
    """Find the names and the number of frames; with optical flow next to them, of ``img_*``."""
    kinds: dict = {}
    for name in _images(folder):
        match = re.fullmatch(r'(.*?)(\d+)(\.\w+)', name)
        if match is None:
            raise DataError(f'{folder}: frames must be numbered, as img_00001.jpg; found {name}')
        prefix, number, suffix = match.groups()
        kinds.setdefault((prefix, suffix), []).append(number)
    chosen = [kind for kind in kinds if kind[0] == 'img_'] if len(kinds) > 1 else list(kinds)
    if len(chosen) != 1:
        found = ', '.join(f'{prefix}…{suffix}' for prefix, suffix in sorted(kinds))
        raise DataError(f'{folder}: holds several kinds of frames, {found}; keep one')
    ((prefix, suffix),) = chosen
    numbers = kinds[chosen[0]]
    first, last = min(map(int, numbers)), max(map(int, numbers))
    if last - first + 1 != len(numbers):
        raise DataError(
            f'{folder}: {len(numbers)} frames are numbered {first} to {last}; number them without '
            'gaps, or extract them again'
        )
    template = f'{prefix}{{:0{min(map(len, numbers))}}}{suffix}'
    return FrameNames(template, first), len(numbers)


def write_lines(path: Union[str, Path], lines: Sequence[str]) -> None:
    """Write a text file, whole or not at all."""
    write_text(path, ''.join(f'{line}\n' for line in lines))
