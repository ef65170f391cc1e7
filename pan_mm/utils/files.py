"""Output files that are either whole or not there; all that a command writes is written here."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, Union

# File names that are not UTF-8 are written with \udcXX for each such byte, as JSON allows.
ENCODING_ERRORS = 'backslashreplace'


@contextmanager
def atomic_write(path: Union[str, Path]) -> Iterator[str]:
    """Give a temporary file beside ``path``, which takes its place when the block succeeds.

    If the block fails, the temporary file is removed and ``path`` stays as it was.

    The data reach the disk before the old file is replaced, so that neither a killed process nor a
    power cut leaves half a file. A file that is replaced keeps its mode. A link stays, and the file
    that it leads to is replaced; devices and pipes, such as /dev/null, are written as they are.

    Raises:
        OSError: With the name of ``path``, if it is a folder, its folder does not exist, or the
            disk is full.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder; name a file in it')
    if not path.parent.is_dir():
        raise FileNotFoundError(f'the folder {path.parent} does not exist')
    if path.exists() and not path.is_file():
        yield str(path)
        return
    part = path.with_name(f'.{path.name}.{secrets.token_hex(4)}{path.suffix}')
    with _naming(path, part):
        part.touch(exist_ok=False)
        try:
            yield str(part)
            with open(part, 'rb+') as file:
                os.fsync(file)
            if path.exists():
                shutil.copymode(path, part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _naming(path: Union[str, Path], part: Union[str, Path] = '') -> Iterator[None]:
    """Let the system's errors name the file that is meant, as on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, str(part)):
            error.filename = str(path)
        raise


def write_text(path: Union[str, Path], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_write(path) as part:
        Path(part).write_text(text, encoding='utf-8')


@contextmanager
def append_text(path: Union[str, Path]) -> Iterator[TextIO]:
    """Open a text file in UTF-8 for further lines, each to be flushed when it is whole."""
    real = os.path.realpath(path)
    with _naming(path), open(real, 'a', -1, 'utf-8', ENCODING_ERRORS, '\n') as file:
        yield file
