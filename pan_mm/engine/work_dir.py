"""A work dir belongs to one training at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Union

from filelock import FileLock, Timeout

from pan_mm.utils.errors import PANError


@contextmanager
def locked_work_dir(folder: Union[str, Path]) -> Iterator[None]:
    """Keep other trainings out of a work dir, whose checkpoints each would remove.

    Raises:
        PANError: If another training is in it.
    """
    try:
        with FileLock(Path(folder, '.training.lock'), timeout=0):
            yield
    except Timeout as error:
        raise PANError(
            f'{folder}: another training is writing here; wait for its end, or give another '
            '--work-dir'
        ) from error
