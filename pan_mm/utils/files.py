"""Output files that are either whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Union

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_write(path: Union[str, Path]) -> Iterator[str]:
    """Give a temporary file beside ``path``, which takes its place when the block succeeds.

    If the block fails, the temporary file is removed and ``path`` stays as it was.

    What is written reaches the disk before it takes the place of what was there, so that neither
    a killed process nor a power cut leaves half a file. A link stays, and the file that it leads to
    is replaced; devices and pipes, such as /dev/null, are written as they are.

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
            fcntl.flock(handle, fcntl.LOCK_EX)  # tells remove_stale that the writer lives
    else:
        os.close(handle)  # Windows replaces no open file
    try:
        yield part
        with open(part, 'rb+') as file:
            os.fsync(file)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(part, 0o666 & ~umask)  # mkstemp denies others read access
        os.replace(part, path)
    except BaseException as error:
        os.unlink(part)
        if isinstance(error, OSError) and error.filename in (None, part):
            error.filename = str(path)
        raise
    finally:
        if fcntl:
            os.close(handle)


def remove_stale(part: Union[str, Path]) -> None:
    """Remove a temporary file of :func:`atomic_write`, unless its writer lives."""
    with suppress(OSError):  # gone by now, a link, or locked
        handle = os.open(part, os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0))
        try:
            if fcntl:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(part)
        finally:
            os.close(handle)
