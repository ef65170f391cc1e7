"""Errors that say what is wrong, where, and how to fix it."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class PANError(ValueError):
    """Base of all errors that the package raises for bad input."""


class CheckpointError(PANError):
    """A checkpoint that is damaged, would run code, or holds something else than weights."""


class DataError(PANError):
    """Annotations, lists of files or scores that cannot be used."""


class VideoError(PANError):
    """A video that cannot be opened or decoded."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Words for an error about an unknown name: the three names that are most like it."""
    return f'the nearest: {", ".join(difflib.get_close_matches(name, names, 3, 0.0))}'


@contextmanager
def errors_end_the_program() -> Iterator[None]:
    """End a tool with ``error: …`` and status 1 where its input is bad, without a traceback."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
