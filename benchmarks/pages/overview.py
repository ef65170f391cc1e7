#!/usr/bin/env python3
"""Write the tables of pages that are otherwise written by hand from the files in results/.

    python -m benchmarks.pages.overview

A table is between its mark, ``<!-- table: NAME -->``, and ``<!-- end -->``; all else stays.
"""

import json
import re
from typing import Optional

from benchmarks.compared import (
    CONFIGS,
    MODELS_MOTIONSHAPES,
    RECORDS,
    RECORDS_MOTIONSHAPES,
    ROOT,
)
from benchmarks.markdown import is_check, table, write_page
from benchmarks.records.by_model import results_by_model
from benchmarks.records.records import read_records

from .evidence import wilson
from .result_tables import run_table, spread

COMMAND = 'python -m benchmarks.pages.overview'
PAGES = ('README.md', 'docs/get_started.md', 'docs/tutorials/1_own_videos.md')
SPEEDS = ROOT / 'results' / 'performance' / 'recognizer_epyc-2-cores.json'
OWN_VIDEOS = ROOT / 'results' / 'own_videos.json'
MARK = re.compile(r'(<!-- table: (\w+) -->\n).*?(<!-- end -->)', re.S)


def overview() -> str:
    """How good and how fast: accuracy and cost on UTD-MHAD, speed from the benchmark."""
    found, _ = results_by_model(read_records(RECORDS, CONFIGS)[0])
    speeds = {}
    for row in json.loads(SPEEDS.read_text(encoding='utf-8'))['inference']:
        if row['variant'] == 'optimized':
            name = row['model'].replace('_', ' ')
            speeds[name] = max(speeds.get(name, 0), row['clips_per_second'])
    rows = []
    for model in ('TSN', 'TSM', 'PAN Lite', 'PAN Full', 'PAN En'):
        results = found[model]
        top1, top5 = (spread(r.accuracies[k] for r in results) for k in ('top1', 'top5'))
        cost = results[0].gmacs, results[0].params
        rows.append([model, top1, top5, *(f'{value:.1f}' for value in (*cost, speeds[model]))])
    return table(['model', 'top-1', 'top-5', 'GMACs', 'params, M', 'clips/s'], rows)


def motionshapes() -> str:
    """The models of the embedded dataset, one run each."""
    records, _ = read_records(RECORDS_MOTIONSHAPES, CONFIGS)
    runs = {
        record.info['config']: {**record.info, **record.accuracies}
        for record in records
        if not record.changes
    }
    return run_table([runs[config] for config in MODELS_MOTIONSHAPES.values()])


def own_videos() -> str:
    """What 20 clips a class reach, by how the training starts."""
    variants = json.loads(OWN_VIDEOS.read_text(encoding='utf-8'))['variants']
    rows = []
    for name, found in variants.items():
        low, high = wilson(round(found['top1'] * found['clips'] / 100), found['clips'])
        percent = f'{found["top1"]:.1f}', f'{low:.0f} … {high:.0f}'
        rows.append([name, *percent, f'{found["minutes"]:.0f}'])
    return table(['start', 'top-1', '95 % interval', 'training, min'], rows)


TABLES = dict(overview=overview, motionshapes=motionshapes, own_videos=own_videos)


def page(text: str) -> str:
    """A page with its tables filled in."""
    return MARK.sub(lambda match: f'{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}', text)


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__.split('\n')[0], argv)
    for name in PAGES:
        path = ROOT / name
        write_page(path, page(path.read_text(encoding='utf-8')), COMMAND, check)


if __name__ == '__main__':
    main()
