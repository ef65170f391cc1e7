"""Output files that are either whole or not there; all that a command writes is written here."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, Union

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NOFOLLOW = getattr(os, 'O_NOFOLLOW', 0)
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
        OSError: With the name of ``path``, if the disk is full.
        FileNotFoundError: If the folder of ``path`` does not exist.
        IsADirectoryError: If ``path`` is a folder.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder; name a file in it')
    if not path.parent.is_dir():
        raise FileNotFoundError(f'the folder {path.parent} does not exist')
    if path.exists() and not path.is_file():
        yield str(path)
        return
    handle, part = tempfile.mkstemp(prefix=f'.{path.name}.', suffix=path.suffix, dir=path.parent)
    if fcntl:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)  # shows remove_stale that the writer lives
    else:
        os.close(handle)  # Windows replaces no open file
    try:
        with _naming(path, part):
            yield part
            with open(part, 'rb+') as file:
                os.fsync(file)
            os.chmod(part, _mode_of(path))
            os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
    finally:
        if fcntl:
            os.close(handle)


def _mode_of(path: Path) -> int:
    """Mode of the file that is replaced, or of a new one; mkstemp denies others read access."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def _naming(path: Union[str, Path], part: str = '') -> Iterator[None]:
    """Let the system's errors name the file that is meant, as on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, part):
            error.filename = str(path)
        raise


def write_text(path: Union[str, Path], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_write(path) as part:
        Path(part).write_text(text, encoding='utf-8')


@contextmanager
def append_text(path: Union[str, Path]) -> Iterator[TextIO]:
    """Open a text file in UTF-8 for further lines, each to be flushed when it is whole.

    Raises:
        OSError: With the name of ``path``, if the disk is full.
    """

    def opener(name, flags):
        return os.open(name, flags | NOFOLLOW, 0o666)

    real = os.path.realpath(path)
    with (
        _naming(path),
        open(real, 'a', -1, 'utf-8', ENCODING_ERRORS, '\n', opener=opener) as file,
    ):
        yield file


def remove_stale(part: Union[str, Path]) -> None:
    """Remove a temporary file of :func:`atomic_write`, unless its writer lives."""
    with suppress(OSError):  # gone by now, a link, or locked
        handle = os.open(part, os.O_RDONLY | NOFOLLOW)
        try:
            if fcntl:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(part)
        finally:
            os.close(handle)
