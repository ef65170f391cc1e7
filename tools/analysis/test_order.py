#!/usr/bin/env python3
"""Test finished runs, with test clips played backwards and forwards, and keep the scores."""

import argparse
import sys

from mmengine.config import DictAction

from pan_mm.apis.order_test import run_both_ways
from pan_mm.apis.report import ReportError
from pan_mm.datasets import DataError


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained to their last epoch')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes of the runs\' configs, such as "test_dataloader.num_workers=0"',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    problems = []
    for work_dir in args.work_dirs:
        try:
            run_both_ways(work_dir, args.cfg_options)
        except (ReportError, DataError) as error:
            problems.append(str(error))
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
