"""Tables of docs/mmaction2.md, from its rows in docs/mmaction2.yml."""

from typing import NamedTuple

from mmengine import load

from benchmarks.compared import ROOT
from benchmarks.markdown import table


class Row(NamedTuple):
    """A part of MMAction2 and its use with a PAN; docs/mmaction2.yml explains the fields."""

    name: str
    line: str
    note: str = ''
    shows: str = ''
    leaves: str = ''
    fails: bool = False
    needs: str = ''


def read_rows() -> dict:
    """Read ``{group: [Row]}``."""
    groups = load(ROOT / 'docs' / 'mmaction2.yml').items()
    return {name: [Row(**row) for row in rows] for name, rows in groups}


def rows_table(group: str, head: str, before: str = '') -> str:
    """The table of a group, with text before each line."""
    rows = []
    for row in read_rows()[group]:
        code = '<br>'.join(f'`{line}`' for line in f'{before}{row.line}'.splitlines())
        rows.append((row.name, 'no' if row.fails else 'yes', code, row.note))
    return table(('what', 'works', head, ''), rows)


TABLES = dict(
    mmaction2_tools=lambda: rows_table('tools', 'command', 'python -m pan_mm tool '),
    mmaction2_training=lambda: rows_table('training', 'in the config'),
    mmaction2_pipelines=lambda: rows_table('pipelines', 'in the config'),
    mmaction2_testing=lambda: rows_table('testing', 'in the config'),
    mmaction2_python=lambda: rows_table('python', 'in Python'),
)
