#!/usr/bin/env python3
"""Train, test and record a list of runs; started again, it continues where it stopped.

    nice python -m benchmarks.run_list benchmarks/utd_mhad_64px.yml --out work_dirs/matrix

The list is YAML: groups in the order in which they run, each of them configs x seeds.

    - configs: [tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth]
      seeds: [0, 1]
      tag: lr2                                # optional, part of the runs' names
      options: {optim_wrapper.optimizer.lr: 0.002}             # optional, as for --cfg-options

Each run has a folder of its name in the output folder: the work_dir of tools/train.py, and what
the processes print (output.txt). ``benchmarks.collect`` tests it and adds it to the results; then
the folder gets a file ``collected``. A run that was cut off resumes from its last checkpoint.

To train several runs at a time, start the command several times: a run that another process has
locked is passed over.
"""

import argparse
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Optional, Union

import yaml

from .runs import RESULTS
from .settings import ROOT, RunError, find_config


class Group(NamedTuple):
    """A group of a list."""

    configs: list
    seeds: list
    tag: str = ''
    options: Optional[dict] = None


class Run(NamedTuple):
    """One training and its test."""

    name: str
    config: str  # path below ROOT
    seed: int
    options: dict

    def training(self, folder: Path) -> list:
        """Command line of its training, which resumes where a checkpoint is."""
        words = ['--work-dir', str(folder), '--seed', str(self.seed)]
        words += ['--resume'] if (folder / 'last_checkpoint').exists() else []
        options = [f'{key}={str(value).replace(" ", "")}' for key, value in self.options.items()]
        options = ['--cfg-options', *options] if options else []
        return [sys.executable, 'tools/train.py', self.config, *words, *options]


def read_list(path: Union[str, Path]) -> list:
    """Read a list of runs.

    Raises:
        RunError: Naming the group and its fault.
        OSError: If the file cannot be read.
        yaml.YAMLError: If it is not YAML.
    """
    runs: dict = {}
    for number, entry in enumerate(yaml.safe_load(Path(path).read_text(encoding='utf-8')), 1):
        try:
            group = Group(**entry)
        except TypeError as error:
            raise RunError(f'{path}, group {number}: {error}') from error
        for seed in group.seeds:
            for config in group.configs:
                name = '_'.join(filter(None, (config, group.tag, f'seed{seed}')))
                if name in runs:
                    raise RunError(f'{path}: {name} is there twice; give a group another tag')
                own = str(find_config(config).relative_to(ROOT))
                runs[name] = Run(name, own, seed, group.options or {})
    return list(runs.values())


def work(runs: Iterable[Run], out: Path, results: Path) -> list:
    """Do all runs that are not collected, and that no other process does.

    Returns:
        list[Run]: Those that failed.
    """
    failed = []
    for run in runs:
        folder = out / run.name
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / 'output.txt', 'a', encoding='utf-8') as output:
            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f'{run.name} runs in another process', flush=True)
                continue
            if (folder / 'collected').exists():
                continue
            print(f'{run.name}: see {folder / "output.txt"}', flush=True)
            command = [sys.executable, '-m', 'benchmarks.collect', folder, '--results', results]
            try:
                call(run.training(folder), output)
                call(command, output)
                (folder / 'collected').touch()
            except subprocess.CalledProcessError as error:
                print(f'{run.name} failed: {error.cmd[1:3]} gave {error.returncode}', flush=True)
                failed.append(run)
    return failed


def call(command: list, output) -> None:
    """Run a command of the checkout on one thread."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=python_path)
    streams = dict(stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    subprocess.run(command, cwd=ROOT, env=env, check=True, **streams)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('list', help='YAML file')
    parser.add_argument('--out', required=True, type=Path, help='gets a folder for each run')
    parser.add_argument('--results', type=Path, default=RESULTS, help='folder of runs.csv')
    args = parser.parse_args(argv)
    try:
        failed = work(read_list(args.list), args.out.resolve(), args.results.resolve())
    except (RunError, OSError, yaml.YAMLError) as error:
        sys.exit(f'error: {error}')
    if failed:
        sys.exit(f'failed: {", ".join(run.name for run in failed)}; see output.txt in each folder')


if __name__ == '__main__':
    main()
