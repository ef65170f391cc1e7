"""Tables in Markdown, and pages that are kept fresh."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional


def table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table in Markdown, without a newline at its end."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def is_check(description: str, argv: Optional[list]) -> bool:
    """Parse the command line of a page: whether it was only asked if the page is fresh."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if the page is stale'
    )
    return parser.parse_args(argv).check


def write_page(path: Path, text: str, command: str, check: bool = False) -> None:
    """Write a page, or with ``check`` stop with the command that does where it is stale."""
    if not check:
        path.write_text(text, encoding='utf-8')
    elif not path.is_file() or path.read_text(encoding='utf-8') != text:
        sys.exit(f'error: {path} is stale; run {command}')
