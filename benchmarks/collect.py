#!/usr/bin/env python3
"""Test finished trainings, and add them to results/runs.csv and results/scores.

    python -m benchmarks.collect WORK_DIR ...
    python -m benchmarks.collect --ensemble CONFIG STREAM=WORK_DIR ...

The checkpoint of the last epoch is tested with its clips played backwards and forwards. What a run
changes of its config are the options of its command. The second command tests the streams of a
PANEnsemble together; CONFIG.pth, in the current folder, gets the weights of all.
"""

import argparse
import copy
import functools
import hashlib
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd
from mmaction.registry import MODELS, RUNNERS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from benchmarks.runs import RESULTS, Run, RunError, accuracies, add_run, find_config, run_name
from pan_mm.config.pipelines import VideoPipeline, dataset_of, kind_of
from pan_mm.convert.merge import merge_streams
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.scores import NAME_KEYS, load_scores, scores_and_labels

# Lines of the environment in a log: our column, their name.
NAMES = dict(
    processor='Processor',
    gpu='GPU',
    threads='Threads',
    python='Python',
    torch='PyTorch',
    mmengine='MMEngine',
    mmaction2='MMAction2',
    mmcv='MMCV',
    pan_mm='pan_mm',
)
# Options that move data and work about, and change no score.
PLACES = re.compile('data_root|data_prefix|ann_file|workers|default_hooks|env_cfg|val_')


def read_training(work_dir: Path) -> tuple:
    """Read the config, the logged steps and the texts of the logs of a finished training.

    Raises:
        RunError: If the training did not finish.
    """
    scalars = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines = map(json.loads, path.read_text(encoding='utf-8').splitlines())
        if steps := [line for line in lines if 'loss' in line]:
            scalars[path] = steps
    if not scalars:
        raise RunError('it holds no log of a training')
    cfg = Config.fromfile([*scalars][-1].with_name('config.py'))
    # A resumed run did some steps twice; the later ones count.
    latest = {step['step']: step for steps in scalars.values() for step in steps}
    steps = [latest[number] for number in sorted(latest)]
    epochs = cfg.train_cfg.max_epochs
    if steps[-1]['epoch'] != epochs or not (work_dir / f'epoch_{epochs}.pth').is_file():
        raise RunError(
            f'the training stopped in epoch {steps[-1]["epoch"]} of {epochs}; continue it with '
            'tools/train.py --resume'
        )
    logs = [next(path.parents[1].glob('*.log')).read_text(encoding='utf-8') for path in scalars]
    return cfg, steps, logs


def changes_of(command: str) -> dict:
    """Options of a training's command that change its weights or scores."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    known, words = parser.parse_known_args(shlex.split(command))
    changes = {key: v for key, v in known.cfg_options.items() if not PLACES.search(key)}
    changes.update({word: True for word in words if word in ('--amp', '--auto-scale-lr')})
    return changes


def split_name(own: list, config: list) -> str:
    """Name the split of a run by its lists, next to the lists of its config.

    Returns:
        str: 'test' for the lists of the config, 'swap' for the same the other way round, NAME
        for the lists NAME_train.txt and NAME_val.txt or NAME_test.txt, such as 'dev', and
        'split2' for train2.txt and test2.txt.

    Raises:
        RunError: If the lists are others.
    """
    if own == config:
        return 'test'
    if own == config[::-1]:
        return 'swap'
    match = re.fullmatch(r'(\w+)_train\.txt/\1_(val|test)\.txt', '/'.join(own))
    if match and match[1] not in ('test', 'swap'):
        return match[1]
    if match := re.fullmatch(r'train(\d+)\.txt/test\1\.txt', '/'.join(own)):
        return f'split{match[1]}'
    raise RunError(
        f'trained on {own[0] or "no list"} and tested on {own[1] or "no list"}, not on the split '
        f'of the config ({", ".join(config)}) nor on NAME_train.txt and NAME_val.txt'
    )


def lists(cfg: Config) -> list:
    """Names of the annotation lists that a config trains and tests on."""
    return [Path(dataset_of(cfg, s).get('ann_file') or '').name for s in ('train', 'test')]


def play_backwards(cfg: Config) -> Config:
    """Copy a config, with ``ReverseFrames`` before the decoder of its test pipeline."""
    cfg = copy.deepcopy(cfg)
    pipeline = cfg.test_dataloader.dataset.pipeline
    place = [kind_of(transform) for transform in pipeline].index('decode')
    pipeline.insert(place, dict(type='ReverseFrames'))
    return cfg


def test(cfg: Config) -> tuple:
    """Names of the test's clips in order, their labels and logits."""
    with tempfile.TemporaryDirectory() as folder:
        dump = dict(type='DumpResults', out_file_path=f'{folder}/scores.pkl')
        cfg = copy.deepcopy(cfg)
        cfg.test_evaluator = dump
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


def scenes_of(clips: Sequence[str], annotations: Path) -> Optional[np.ndarray]:
    """Number the scenes of clips, by ``scenes.csv`` next to an annotation list.

    Args:
        clips (Sequence[str]): Paths of N clips, or their ends.
        annotations (Path): The list; the file next to it has the columns ``video`` and ``scene``.

    Returns:
        np.ndarray: Places among the sorted names of all scenes, int, shape (N,); None without the
        file.

    Raises:
        KeyError: If the file lacks a clip.
    """
    path = annotations.with_name('scenes.csv')
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype=str)
    numbers, _ = pd.factorize(table['scene'], sort=True)
    names = [Path(clip).name for clip in clips]
    return pd.Series(numbers, table['video']).loc[names].to_numpy()


def collect(work_dir: Union[str, Path], options: Optional[dict] = None) -> Run:
    """Test the end of a training.

    Args:
        work_dir (str | Path): Folder of the run.
        options (dict, optional): Changes of the test's config, such as the location of the data.

    Raises:
        RunError: If the training is not finished, or on other lists than its config.
    """
    cfg, info, checkpoint = describe(Path(work_dir), options)
    cfg.work_dir = str(work_dir)
    return record(cfg, info, checkpoint)


def collect_ensemble(
    config: str, work_dirs: dict, checkpoint: Path, options: Optional[dict] = None
) -> Run:
    """Test streams together that were trained one by one.

    Args:
        config (str): Name of a config whose model is a ``PANEnsemble``.
        work_dirs (dict[str, str]): Folder of each stream's run.
        checkpoint (Path): The file to write, ``NAME.pth``, with the weights of all streams. Logs
            of the test go into the folder ``NAME``.
        options (dict, optional): As for :func:`collect`.

    Raises:
        RunError: If a training is not finished, or splits, seeds or lengths differ.
        ValueError: If ``work_dirs`` names other streams than the config.
    """
    runs = {name: describe(Path(own), options) for name, own in work_dirs.items()}
    (_, info, _), *others = runs.values()
    for _, other, _ in others:
        if any(other[key] != info[key] for key in ('split', 'seed', 'epochs', 'batch_size')):
            raise RunError('the streams differ in their split, seed, epochs or batch size')
        info['minutes'] = round(info['minutes'] + other['minutes'], 1)
        info['command'] += f'; {other["command"]}'
        theirs = other['changes'].items()
        info['changes'] = {k: v for k, v in info['changes'].items() if (k, v) in theirs}
    ensemble = Config.fromfile(find_config(config))
    ensemble.merge_from_dict(dict(options or {}, work_dir=str(checkpoint.with_suffix(''))))
    merge_streams(ensemble, {name: path for name, (*_, path) in runs.items()}, checkpoint)
    return record(ensemble, dict(info, config=config, loss=None), checkpoint)


def describe(work_dir: Path, options: Optional[dict] = None) -> tuple:
    """Describe a finished training.

    Returns:
        tuple: Its config with the options, its columns of the table as far as they are known
        without a test, and its last checkpoint.

    Raises:
        RunError: With the name of the folder, if the training did not finish, or is on other lists.
    """
    try:
        return _describe(work_dir, options)
    except RunError as error:
        raise RunError(f'{work_dir}: {error}') from error


def _describe(work_dir, options):
    cfg, steps, logs = read_training(work_dir)
    (own,) = work_dir.glob('*.py')
    cfg = Config(cfg.to_dict(), filename=str(own))  # a test writes it into the work_dir again
    cfg.merge_from_dict(options or {})
    train_list, test_list = lists(cfg)
    info = dict(
        dataset=own.stem.rpartition('_')[2],
        config=own.stem,
        train_list=train_list,
        test_list=test_list,
        split=split_name(lists(cfg), lists(Config.fromfile(find_config(own.stem)))),
        epochs=cfg.train_cfg.max_epochs,
        batch_size=cfg.train_dataloader.batch_size,
        **_of_training(steps),
        **_of_logs(logs),
    )
    return cfg, info, work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'


def record(cfg: Config, info: dict, checkpoint: Path) -> Run:
    """Test a checkpoint, and make the row of a training's description whole."""
    cfg.merge_from_dict(dict(load_from=str(checkpoint), resume=False))
    *_, backwards = test(play_backwards(cfg))
    clips, labels, scores = test(cfg)
    info = dict(
        info,
        **{key: round(value, 2) for key, value in accuracies(scores, labels).items()},
        **_cost(cfg),
        sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    )
    dataset = dataset_of(cfg, 'test')
    annotations = Path(dataset.get('data_root') or '', dataset.get('ann_file') or 'none')
    scenes = scenes_of(clips, annotations)
    return Run(dict(info, run=run_name(info)), clips, labels, scores, backwards, scenes)


def _of_training(steps):
    """Mean loss of the last epoch, and minutes: a step logs the mean time since the one before."""
    last = [step['loss'] for step in steps if step['epoch'] == steps[-1]['epoch']]
    numbers = [0, *(step['step'] for step in steps)]
    seconds = np.dot(np.diff(numbers), [step['time'] for step in steps])
    return dict(loss=float(f'{np.mean(last):.6g}'), minutes=round(float(seconds) / 60, 1))


def _cost(cfg):
    """Pixels of a frame's side, GMACs of all views and millions of parameters."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    pipeline = VideoPipeline(cfg)
    shape = pipeline.view_shape()
    total = get_complexity(MODELS.build(cfg.model), shape)
    gmacs = round(pipeline.num_views * total.macs / 1e9, 2)
    return dict(pixels=shape[-1], gmacs=gmacs, params=round(total.params / 1e6, 2))


def _of_logs(logs):
    """Seed, commands and environment of a training; the last log counts."""
    found = {key: _find(rf'{name}: (\S.*)', logs[-1]) for key, name in NAMES.items()}
    commands = [_find('Command: (.+)', log) for log in logs]
    return dict(
        found,
        python=found['python'].split()[0],
        threads=found['threads'] and int(found['threads']),
        device='GPU' if 'CUDA available: True' in logs[-1] else 'CPU',
        seed=int(_find(r'seed: (\d+)', logs[-1])),
        changes=changes_of(commands[-1]),
        command='; '.join(map(_without_folders, commands)),
    )


def _without_folders(command):
    """Leave the folders of the machine out of a command."""
    place = r'(?<![^\s=\'"])/(?:[^\s\'"]*/(?=tools/|configs/)|(?:[^\s/\'"]+/)*)'
    return re.sub(place, '', command)


def _find(pattern, text):
    match = re.search(f'^ *{pattern}', text, re.MULTILINE)
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
    parser.add_argument('--ensemble', metavar='CONFIG', help='name of the config of a PANEnsemble')
    args = parser.parse_args(argv)
    if name := args.ensemble:
        if missing := [own for own in args.work_dirs if '=' not in own]:
            parser.error(f'{missing[0]} names no stream; with --ensemble, give STREAM=WORK_DIR')
        streams = dict(own.split('=', 1) for own in args.work_dirs)
        jobs = [functools.partial(collect_ensemble, name, streams, Path(f'{name}.pth'))]
    else:
        jobs = [functools.partial(collect, own) for own in args.work_dirs]
    for job in jobs:
        try:
            run = job(args.cfg_options)
            add_run(run, args.results)
        except ValueError as error:
            sys.exit(f'error: {error}')
        print(run.info['run'], *(f'{k} {v:.1f} %' for k, v in run.accuracies.items()))


if __name__ == '__main__':
    main()
