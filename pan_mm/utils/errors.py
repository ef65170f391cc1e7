"""Errors that name the fault, its place, and the fix."""

import difflib
import reprlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LINES = '\n\t'  # what messages of several lines hold


class PANError(ValueError):
    """Base of all errors that the package raises for bad input."""


class ConfigError(PANError):
    """A config that is not there, or sets what nothing reads."""


class CheckpointError(PANError):
    """A checkpoint that is damaged, would run code, or holds something else than weights."""


class DataError(PANError):
    """Annotations, lists of files or scores that cannot be used."""


class VideoError(PANError):
    """A video that cannot be opened or decoded."""


def escape(text: object, keep: str = '') -> str:
    """Show control characters, but those to keep, as they are written, harmless to a terminal."""
    return ''.join(
        c if c.isprintable() or c in keep else c.encode('unicode_escape').decode()
        for c in str(text)
    )


def shown(value: object) -> str:
    """Represent a value from a file briefly, however large it is or often it holds itself."""
    brief = reprlib.Repr()
    brief.maxlevel = 2
    brief.maxstring = brief.maxother = 60
    return brief.repr(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Words for an error about an unknown name: the three names that are most like it."""
    return f'the nearest: {", ".join(difflib.get_close_matches(name, names, 3, 0.0))}'


def listed(messages: list, most: int = 10) -> str:
    """Messages for an error, each on a line of its own, and how many were left out."""
    left_out = [f'… and {len(messages) - most} more'] if len(messages) > most else []
    return ''.join(f'\n  {message}' for message in [*messages[:most], *left_out])


@contextmanager
def cli_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """End a tool with ``error: …`` and status 1 at these errors; by default OSError, ValueError."""
    kinds = kinds or (OSError, ValueError)
    try:
        yield
    except BrokenPipeError:
        raise
    except kinds as error:
        sys.exit(f'error: {escape(error, keep=LINES)}')
