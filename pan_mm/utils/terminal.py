"""Help, tables and progress on a terminal; plain text where the stream is not one."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Optional, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

SECONDS = 30  # between progress lines where stderr is not a terminal
Item = TypeVar('Item')


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps lines of the description as they are, and shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        told = str(action.default) not in ('None', 'False', '[]', '{}')
        return super()._get_help_string(action) if told else action.help


def tool_parser(description: str, example: str) -> argparse.ArgumentParser:
    """Make the parser of a script, whose help ends with an example of these arguments."""
    epilog = f'example:\n  python {sys.argv[0]} {example}'
    return argparse.ArgumentParser(description=description, epilog=epilog, formatter_class=Help)


def _console(stderr: bool = False) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        force_terminal=terminal,
        width=None if terminal else 10_000,
        markup=False,
        emoji=False,
        highlight=False,
    )


def echo(text: str, style: str = '') -> None:
    """Print text, on a terminal in a style such as 'bold' or 'red'; long lines stay whole."""
    _console().print(text, style=style, soft_wrap=True)


def print_table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Print columns of text; with titles all but the first are aligned to the right.

    Long cells are folded on a terminal; elsewhere, as in a pipe, a row is a line.
    """
    rows = list(rows)
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=not head, show_header=bool(head))
    for number, title in enumerate(head or rows[0]):
        table.add_column(title, justify='right' if head and number else 'left', overflow='fold')
    for row in rows:
        table.add_row(*row)
    console = _console()
    with console.capture() as shown:
        console.print(table)
    print(*map(str.rstrip, shown.get().splitlines()), sep='\n', flush=True)


def track(items: Iterable[Item], total: int, noun: str = 'videos') -> Iterator[Item]:
    """Yield the items and show on stderr how many are done."""
    if sys.stderr.isatty():
        # No refresh thread: a data worker forked while it holds a lock would wait forever.
        with Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            console=_console(stderr=True),
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        ) as bar:
            yield from bar.track(items, total, description=noun)
        return
    last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            print(f'{number} of {total} {noun}', file=sys.stderr)


@contextmanager
def status(text: str, show: bool = True) -> Iterator[Callable[[str], None]]:
    """Show a text on a terminal's stderr meanwhile; yield a function that changes it."""
    if show and sys.stderr.isatty():
        with _console(stderr=True).status(text) as shown:
            yield shown.update
    else:
        yield lambda text: None
