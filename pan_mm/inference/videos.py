"""Which video files are meant by files, folders, globs and lists."""

import glob
import os
from collections.abc import Iterable

from pan_mm.datasets.checks.annotations import read_lines
from pan_mm.datasets.container import VIDEO_SUFFIXES
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import DataError


def find_videos(inputs: Iterable) -> list:
    """Expand inputs to files, each once, in a fixed order.

    Args:
        inputs (Iterable[str | Path]): Each a file (of any suffix, also one that does not exist:
            that is for the decoder to say), a folder (all its videos, however deep), a glob
            such as ``'clips/**/*.mp4'``, or ``@FILE``, a list with a file, folder or glob a line.

    Returns:
        list[str]: The files.

    Raises:
        FileNotFoundError: If a list does not exist.
        ValueError: If a folder holds no videos, a glob matches nothing, a list is empty, or a
            name holds a password.
    """
    found = {}
    for item in map(os.fspath, inputs):
        is_list = item.startswith('@') and not os.path.exists(item)
        for name in read_list(item[1:]) if is_list else [item]:
            if redact_url(name) != name:  # it would show up in the results
                raise ValueError(
                    f'{redact_url(name)}: name videos without a password; addresses are '
                    'for "stream"'
                )
            found.update(dict.fromkeys(_expand(name)))
    return list(found)


def _expand(item: str) -> list:
    if os.path.isdir(item):
        paths = (os.path.join(folder, f) for folder, _, files in os.walk(item) for f in files)
        videos = sorted(path for path in paths if is_video(path))
        if not videos:
            raise ValueError(f'{item}: no videos in this folder ({", ".join(VIDEO_SUFFIXES)})')
        return videos
    if os.path.exists(item):
        return [item]
    if glob.has_magic(item):
        files = sorted(path for path in glob.glob(item, recursive=True) if os.path.isfile(path))
        if not files:
            raise ValueError(f'{item}: matches no file')
        return files
    return [item]


def read_list(path: str) -> list:
    """Lines of a list of videos, without the empty ones."""
    items = [line.strip() for line in read_lines(path) if line.strip()]
    if not items:
        raise DataError(f'{path}: this list of videos is empty')
    return items


def is_video(path: str) -> bool:
    """Whether a file is a video by its suffix."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES
