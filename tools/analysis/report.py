#!/usr/bin/env python3
"""Collect the results of finished runs, and write docs/results.md from what was collected.

    python tools/analysis/report.py WORK_DIR ... --records results/utd_mhad
    python tools/analysis/report.py

The first command leaves a small record of each run, the second makes the page and its pictures
from all records. Runs that are not finished, not tested, or of other data are named and left out.
"""

import argparse
import sys
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # run as a script, the other tools are no modules

from pan_mm.apis.benchmark import write_report  # noqa: E402
from pan_mm.apis.report import ReportError, markdown_table, read_run  # noqa: E402
from pan_mm.apis.run_records import collect_run, read_records  # noqa: E402
from tools.analysis import results_page  # noqa: E402

RECORDS = ROOT / 'results' / 'utd_mhad'


def parse_args(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='*', help='folders of runs, trained and tested')
    parser.add_argument('--records', help='folder that gets a record of each run')
    parser.add_argument('--out', help='JSON file that gets the results of all runs')
    parser.add_argument('--machine', help='what they ran on, such as "2 cores of ..."')
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if docs/results.md is stale'
    )
    args = parser.parse_args(argv)
    if (args.records or args.out) and not args.work_dirs:
        parser.error('--records and --out need the work_dirs of runs')
    return args


def collect(args):
    """From work_dirs to records and a table; returns what was left out."""
    runs, problems = [], []
    for work_dir in args.work_dirs:
        try:
            runs.append(read_run(work_dir))
            if args.records:
                print(collect_run(work_dir, args.records, results_page.CONFIGS, args.machine))
        except (ReportError, OSError) as error:
            problems.append(str(error))
    if runs:
        print(markdown_table(runs))
        if args.out:
            write_report(args.out, dict(machine=args.machine, runs=runs))
    return problems


def write_page(check):
    """docs/results.md and its pictures; returns what was left out."""
    records, problems = read_records(RECORDS, results_page.CONFIGS)
    docs = ROOT / 'docs'
    template = (docs / 'results.md.in').read_text(encoding='utf-8')
    text = results_page.page(template, records, problems)
    path = docs / 'results.md'
    if check:
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            sys.exit(f'error: {path} is stale; run python tools/analysis/report.py')
        return []
    path.write_text(text, encoding='utf-8')
    results_page.write_pictures(records, docs / 'results')
    return problems


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    problems = collect(args) if args.work_dirs else write_page(args.check)
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    if problems:
        sys.exit(1)


if __name__ == '__main__':
    main()
