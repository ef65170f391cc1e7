#!/usr/bin/env python3
"""Test finished runs with their clips played backwards and forwards, and keep the scores.

python -m benchmarks.order_test WORK_DIR ...
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import Union

from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction

from pan_mm.config.pipelines import kind_of

from .collect import read_logs
from .settings import RunError


def play_backwards(cfg: Config) -> Config:
    """Insert ``ReverseFrames`` before the decoder of a test pipeline; returns a copy.

    Raises:
        ValueError: If the test pipeline has no decoder.
    """
    cfg = copy.deepcopy(cfg)
    pipeline = cfg.test_dataloader.dataset.pipeline
    places = [i for i, transform in enumerate(pipeline) if kind_of(transform) == 'decode']
    if not places:
        raise ValueError('the test pipeline has no decoder for ReverseFrames to precede')
    pipeline.insert(places[0], dict(type='ReverseFrames'))
    return cfg


def run_both_ways(work_dir: Union[str, Path], options: dict) -> None:
    """Test the last checkpoint of a finished run, its clips played backwards, then forwards.

    The scores go to ``backwards.pkl`` and ``forwards.pkl`` in the work_dir, in the form of
    ``tools/test.py --dump``, metrics and logs to where that tool puts them.

    Args:
        work_dir (str | Path): Folder of the run.
        options (dict): Changes of the run's config, such as the location of the data.

    Raises:
        RunError: If the training did not finish.
    """
    work_dir = Path(work_dir)
    trained, epochs, *_ = read_logs(work_dir)
    # Use the name of the training's config; another name would leave a second copy.
    cfg = Config(trained.to_dict(), filename=str(next(work_dir.glob('*.py'))))
    cfg.merge_from_dict(options)
    cfg.work_dir = str(work_dir)
    cfg.load_from = str(work_dir / f'epoch_{epochs}.pth')
    cfg.resume = False
    evaluator = cfg.test_evaluator
    evaluators = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
    for name, direction in (('backwards', play_backwards(cfg)), ('forwards', cfg)):
        dump = dict(type='DumpResults', out_file_path=str(work_dir / f'{name}.pkl'))
        direction.test_evaluator = [*evaluators, dump]
        RUNNERS.build(direction).test()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained to their last epoch')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes of the runs\' configs, such as "test_dataloader.num_workers=0"',
    )
    args = parser.parse_args()
    problems = []
    for work_dir in args.work_dirs:
        try:
            run_both_ways(work_dir, args.cfg_options)
        except RunError as error:
            problems.append(f'{work_dir}: {error}')
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
