#!/usr/bin/env python3
"""Test finished trainings, and add them to results/runs.csv and results/scores.

    python -m benchmarks.collect WORK_DIR ...

The checkpoint of the last epoch is tested with its clips played backwards and forwards. Runs that
are not finished or on other data are named and left out.
"""

import argparse
import copy
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
from mmaction.registry import MODELS, RUNNERS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from benchmarks.runs import RESULTS, VERSIONS, Run, add_run
from benchmarks.settings import (
    RunError,
    changed_settings,
    dataset,
    find_config,
    lists,
    run_name,
    settings,
    settings_of_config,
    split_name,
)
from pan_mm.config.pipelines import VideoPipeline, kind_of
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.score_fusion import NAME_KEYS, accuracies, load_scores, scores_and_labels

# Lines of the environment in a log: our column, their name.
NAMES = dict(zip(VERSIONS, ('Python', 'PyTorch', 'MMEngine', 'MMAction2', 'MMCV', 'pan_mm')))
NAMES.update(processor='Processor', gpu='GPU', threads='Threads')


class Training(NamedTuple):
    """A finished training.

    Attributes:
        cfg (Config): Its config.
        steps (list[dict]): The logged steps that led to its end, in order.
        logs (list[str]): Texts of its logs, the last one last.
        checkpoint (Path): Its end.
    """

    cfg: Config
    steps: list
    logs: list
    checkpoint: Path


def read_training(work_dir: Path) -> Training:
    """Read the logs of a run that was trained to its last epoch.

    Raises:
        RunError: If the training did not finish, or was resumed with another seed.
    """
    scalars = {path: _json_lines(path) for path in sorted(work_dir.glob('*/vis_data/scalars.json'))}
    trained = [path for path, lines in scalars.items() if any('loss' in line for line in lines)]
    if not trained:
        raise RunError('it holds no log of a training')
    cfg, first = (Config.fromfile(trained[i].with_name('config.py')) for i in (-1, 0))
    # A resumed run's config does not name its start.
    cfg.load_from, cfg.resume = first.get('load_from'), first.get('resume', False)
    # A resumed run did some steps twice; the later ones count.
    latest = {line['step']: line for path in trained for line in scalars[path] if 'loss' in line}
    steps = [latest[number] for number in sorted(latest)]
    logs = [next(path.parents[1].glob('*.log')).read_text(encoding='utf-8') for path in trained]
    epochs = cfg.train_cfg.max_epochs
    checkpoint = work_dir / f'epoch_{epochs}.pth'
    if not checkpoint.exists() or steps[-1]['epoch'] != epochs:
        raise RunError(
            f'the training stopped in epoch {steps[-1]["epoch"]} of {epochs}; continue it with '
            'tools/train.py --resume'
        )
    if len(seeds := {_seed(log) for log in logs}) > 1:
        raise RunError(
            f'it holds logs of several seeds, {", ".join(map(str, sorted(seeds)))}; train each in '
            'a work_dir of its own'
        )
    return Training(cfg, steps, logs, checkpoint)


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


def test(cfg: Config) -> tuple:
    """Names of the test's clips in order, their labels and logits."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = copy.deepcopy(cfg)
        evaluators = cfg.test_evaluator
        evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
        dump = dict(type='DumpResults', out_file_path=f'{folder}/scores.pkl')
        cfg.test_evaluator = [*evaluators, dump]
        RUNNERS.build(cfg).test()
        samples = load_scores(dump['out_file_path'])
    scores, labels = scores_and_labels(samples)
    names = np.array(clip_names(samples))
    order = np.argsort(names)
    return names[order], labels[order], scores[order]


def clip_names(samples: list) -> list:
    """Ends of the clips' paths, long enough to tell them apart.

    Raises:
        RunError: If a clip was tested twice.
    """
    keys = [key for key in NAME_KEYS if all(key in sample for sample in samples)]
    if not keys:
        return [f'clip {index:05}' for index in range(len(samples))]
    paths = [Path(str(sample[keys[0]])).parts for sample in samples]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ['/'.join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise RunError('a clip is in the test twice')


def collect(work_dir: Union[str, Path], options: Optional[dict] = None) -> Run:
    """Test the end of a training.

    Args:
        work_dir (str | Path): Folder of the run.
        options (dict, optional): Changes of the test's config, such as the location of the data.

    Raises:
        RunError: If the training is not finished, or on other data than its config.
    """
    work_dir = Path(work_dir)
    training = read_training(work_dir)
    (own,) = work_dir.glob('*.py')
    path = find_config(own.stem)
    base, config_hash, base_lists = settings_of_config(path)
    cfg = Config(training.cfg.to_dict(), filename=str(own))
    cfg.merge_from_dict(options or {})
    changes = changed_settings(settings(cfg), base)
    if dataset(cfg) != (wanted := dataset(Config.fromfile(path))):
        raise RunError(f'the run used another dataset, {dataset(cfg)}, not {wanted}')
    split = split_name(lists(cfg), base_lists)
    cfg.merge_from_dict(
        dict(work_dir=str(work_dir), load_from=str(training.checkpoint), resume=False)
    )
    *_, backwards = test(play_backwards(cfg))
    clips, labels, scores = test(cfg)
    last = [step['loss'] for step in training.steps if step['epoch'] == cfg.train_cfg.max_epochs]
    pixels, gmacs, params = _cost(cfg)
    info = dict(
        dataset=own.stem.rpartition('_')[2],
        config=own.stem,
        changes=changes,
        train_list=lists(cfg)[0],
        test_list=lists(cfg)[1],
        split=split,
        seed=_seed(training.logs[-1]),
        epochs=cfg.train_cfg.max_epochs,
        batch_size=cfg.train_dataloader.batch_size,
        pixels=pixels,
        **{key: round(value, 2) for key, value in accuracies(scores, labels).items()},
        loss=float(f'{np.mean(last):.6g}'),
        gmacs=gmacs,
        params=params,
        minutes=round(_seconds(training.steps) / 60, 1),
        **_environment(training.logs[-1]),
        sha256=sha256(training.checkpoint),
        config_hash=config_hash,
        command=_commands(training.logs),
    )
    return Run(dict(info, run=run_name(info)), clips, labels, scores, backwards)


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _cost(cfg):
    """Pixels of a frame's side, GMACs of all views and millions of parameters."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    pipeline = VideoPipeline(cfg)
    shape = pipeline.view_shape()
    total = get_complexity(MODELS.build(cfg.model), shape)[-1]
    return shape[-1], round(pipeline.num_views * total.macs / 1e9, 2), round(total.params / 1e6, 2)


def _environment(log):
    found = {key: _find(rf'^ *{name}: (\S.*)', log) for key, name in NAMES.items()}
    found['python'] = found['python'] and found['python'].split()[0]
    found['threads'] = found['threads'] and int(found['threads'])
    return dict(found, device='GPU' if 'CUDA available: True' in log else 'CPU')


def _commands(logs):
    """The commands of a training without the folders of its machine."""
    place = r'(?<![^\s=\'"])/(?:[^\s\'"]*/(?=tools/|configs/)|(?:[^\s/\'"]+/)*)'
    found = [_find(r'^ *Command: (.+)', log) for log in logs]
    return '; '.join(re.sub(place, '', command) for command in found if command)


def _json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines() if line]


def _seconds(steps):
    """Time of a training: each logged step has the mean time of those since the one before."""
    numbers = [0, *(line['step'] for line in steps)]
    return float(np.dot(np.diff(numbers), [line['time'] for line in steps]))


def _seed(log):
    return int(_find(r'^ *seed: (\d+)', log))


def _find(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else None


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained to their last epoch')
    parser.add_argument('--results', type=Path, default=RESULTS, help='folder of runs.csv')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='changes of the tests\' configs, such as "test_dataloader.num_workers=0"',
    )
    args = parser.parse_args(argv)
    problems = []
    for work_dir in args.work_dirs:
        try:
            run = collect(work_dir, args.cfg_options)
            add_run(run, args.results)
            print(run.info['run'], *(f'{k} {v:.1f} %' for k, v in run.accuracies.items()))
        except (ValueError, OSError) as error:
            problems.append(f'{work_dir}: {error}')
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
