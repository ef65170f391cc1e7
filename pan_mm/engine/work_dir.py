"""A work dir belongs to one training at a time."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

from filelock import FileLock, Timeout

from pan_mm.utils.errors import PANError
from pan_mm.utils.files import write_text

LOCK, OWNER = '.training.lock', '.training.owner'


@contextmanager
def locked_work_dir(folder: Union[str, Path]) -> Iterator[None]:
    """Keep other trainings out of a work dir, whose checkpoints each would remove.

    Raises:
        PANError: If another training is in it; names its process and host.
    """
    owner = Path(folder, OWNER)
    lock = FileLock(Path(folder, LOCK), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        known = owner.read_text(encoding='utf-8') if owner.is_file() else 'another process'
        raise PANError(
            f'{folder}: another training ({known}) is writing here; wait for its end, or give '
            'another --work-dir'
        ) from error
    try:
        owner.unlink(missing_ok=True)  # rather than follow a link
        write_text(owner, f'process {os.getpid()} on {socket.gethostname()}')
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()
