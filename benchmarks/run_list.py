#!/usr/bin/env python3
"""Train, test and record a list of runs; started again, it continues where it stopped.

    nice python -m benchmarks.run_list benchmarks/utd_mhad.yml --out work_dirs/matrix

The list is YAML: groups in the order in which they run, each of them configs x seeds.

    - configs: [tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth]
      seeds: [0, 1]                                            # optional, by default [0]
      changes: {optim_wrapper.optimizer.lr: 0.002}             # optional, as for --cfg-options

Each run has a folder of its name in the output folder, the work_dir of tools/train.py. A run that
was cut off resumes from its last checkpoint. After ``benchmarks.collect`` has tested it and added
it to the results, the folder gets a file ``collected``.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import yaml

from .runs import RESULTS, ROOT, find_config, short_name


def commands(groups: list, out: Path) -> Iterator[tuple]:
    """Folder of each run of a list, and the arguments of its training."""
    for group in groups:
        changes = group.get('changes', {})
        for seed in group.get('seeds', [0]):
            for config in group['configs']:
                middle = [short_name(changes)] if changes else []
                folder = out / '_'.join([config, *middle, f'seed{seed}'])
                words = [find_config(config), '--work-dir', folder, '--seed', str(seed)]
                options = [f'{key}={str(v).replace(" ", "")}' for key, v in changes.items()]
                yield folder, [*words, *(['--cfg-options', *options] if options else [])]


def call(*words: object) -> None:
    """Run Python in the checkout on one thread."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=python_path)
    subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=env, check=True)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('list', type=Path, help='YAML file')
    parser.add_argument('--out', required=True, type=Path, help='gets a folder for each run')
    parser.add_argument('--results', type=Path, default=RESULTS, help='folder of runs.csv')
    args = parser.parse_args(argv)
    groups = yaml.safe_load(args.list.read_text(encoding='utf-8'))
    for folder, words in [*commands(groups, args.out.resolve())]:
        if (folder / 'collected').exists():
            continue
        print(folder.name, flush=True)
        resume = ['--resume'] if (folder / 'last_checkpoint').exists() else []
        call('tools/train.py', *words, *resume)
        call('-m', 'benchmarks.collect', folder, '--results', args.results.resolve())
        (folder / 'collected').touch()


if __name__ == '__main__':
    main()
