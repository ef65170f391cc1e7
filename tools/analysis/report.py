#!/usr/bin/env python3
"""Collect the results of finished runs into a JSON file and print them as a table."""

import argparse
import json
import sys
from pathlib import Path

from pan_mm.apis.report import ReportError, markdown_table, read_run


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained and tested')
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument('--machine', help='what they ran on, such as "2 cores of ..."')
    return parser.parse_args()


def main():
    args = parse_args()
    runs, problems = [], []
    for work_dir in args.work_dirs:
        try:
            runs.append(read_run(work_dir))
        except ReportError as error:
            problems.append(str(error))
    if runs:
        print(markdown_table(runs))
        if args.out:
            result = dict(machine=args.machine, runs=runs)
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
