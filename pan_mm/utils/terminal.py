"""Tables for people."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns of text, the first to the left, the others to the right.

    Long cells are folded on a terminal; elsewhere, as in a pipe, a row is a line.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, justify='right' if number else 'left', overflow='fold')
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, markup=False, highlight=False).print(table)
