#!/usr/bin/env python3
"""Write every table of the documents, the summaries, the model zoo, the cards and the figures.

    python -m benchmarks.pages

Text outside the marks of a document stays.
"""

import re
from typing import Optional

from benchmarks.compared import ROOT
from benchmarks.markdown import is_check, write_page
from benchmarks.pages import figure, gestures, mmaction2, model_card, model_zoo, tables
from benchmarks.runs import RESULTS

COMMAND = 'python -m benchmarks.pages'
PAGES = (
    'docs/get_started.md',
    'docs/mmaction2.md',
    'docs/performance.md',
    'docs/reliability.md',
    'docs/results.md',
    'docs/scaling.md',
    'docs/tutorials/1_own_videos.md',
    'model_zoo.md',
    *(f'tools/data/{name}/README.md' for name in model_zoo.DATASETS),
)
TABLES = {
    **tables.TABLES,
    **mmaction2.TABLES,
    **gestures.TABLES,
    **model_zoo.TABLES,
}
MARK = re.compile(r'(<!-- table: (\w+) -->\n).*?(<!-- end -->)', re.S)


def fill(text: str) -> str:
    """Fill in the tables of a page."""
    return MARK.sub(lambda match: f'{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}', text)


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__.split('\n')[0], argv)
    for name in PAGES:
        path = ROOT / name
        write_page(path, fill(path.read_text(encoding='utf-8')), COMMAND, check)
    for name, make in (
        ('summary', tables.summary_table),
        ('differences', tables.differences_table),
    ):
        text = make().to_csv(index=False, float_format='%.8g')
        write_page(RESULTS / f'{name}.csv', text, COMMAND, check)
    for path, text in model_card.cards():
        write_page(path, text, COMMAND, check)
    if not check:
        figure.write_cost(ROOT / 'docs' / 'results' / 'cost.png')
        figure.write_speed(ROOT / 'docs' / 'results' / 'speed.png')


if __name__ == '__main__':
    main()
