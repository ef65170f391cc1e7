#!/usr/bin/env python3
"""Add finished runs to results/runs.csv and results/scores.

    python -m benchmarks.collect WORK_DIR ...

A run must be trained to its last epoch and tested by ``benchmarks.order_test``, by
``benchmarks.run_list`` or by ``tools/test.py --dump``. Runs that are not finished, not tested, or
on other data are named and left out.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
from mmaction.evaluation import top_k_accuracy
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from benchmarks.run_list import sha256
from benchmarks.runs import RESULTS, ROOT, VERSIONS, Run, add_run
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
from pan_mm.config.pipelines import VideoPipeline
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.score_fusion import NAME_KEYS, accuracies, load_scores, scores_and_labels
from pan_mm.utils.errors import DataError

# MMEngine's EarlyStoppingHook logs one of these when it ends a training.
STOPPED = r'(did not improve in the last|Stopping threshold reached|Monitored .* is infinite)'
# Lines of the environment in a log: our column, their name.
NAMES = dict(zip(VERSIONS, ('Python', 'PyTorch', 'MMEngine', 'MMAction2', 'MMCV', 'pan_mm')))
NAMES.update(processor='Processor', gpu='GPU', threads='Threads')


class Logs(NamedTuple):
    """Logs of a finished training and its tests.

    Attributes:
        cfg (Config): The training's.
        epochs (int): As in the config, or fewer if EarlyStoppingHook ended the training.
        steps (list[dict]): The logged steps that led to the end of the training, in order.
        trainings (list[str]): Texts of the logs of the training, the last one last.
        tests (list[tuple]): Metrics and config of each finished test, the last one last.
    """

    cfg: Config
    epochs: int
    steps: list
    trainings: list
    tests: list


def read_logs(work_dir: Path) -> Logs:
    """Read the logs of a run that was trained to its last epoch, or to its early stop.

    Raises:
        RunError: If the training did not finish, or was resumed with another seed.
    """
    paths = sorted(work_dir.glob('*/*.log'))
    scalars = {path: _json_lines(path.parent / 'vis_data' / 'scalars.json') for path in paths}
    trained = [path for path in paths if any('loss' in line for line in scalars[path])]
    if not trained:
        raise RunError('it holds no log of a training')
    cfg = _config_of(trained[-1])
    first = _config_of(trained[0])  # a resumed run's config does not name its start
    cfg.load_from, cfg.resume = first.get('load_from'), first.get('resume', False)
    # A resumed run did some steps twice; the later ones count.
    latest = {line['step']: line for path in trained for line in scalars[path] if 'loss' in line}
    steps = [latest[number] for number in sorted(latest)]
    trainings = [path.read_text(encoding='utf-8') for path in trained]
    epochs = cfg.train_cfg.max_epochs
    if _find(STOPPED, trainings[-1]):
        epochs = steps[-1]['epoch']
    if not (work_dir / f'epoch_{epochs}.pth').exists() or steps[-1]['epoch'] != epochs:
        raise RunError(
            f'the training stopped in epoch {steps[-1]["epoch"]} of {epochs}; continue it with '
            'tools/train.py --resume'
        )
    seeds = {_seed(log) for log in trainings}
    if len(seeds) > 1:
        raise RunError(
            f'it holds logs of several seeds, {", ".join(map(str, sorted(seeds)))}; train each in '
            'a work_dir of its own'
        )
    tests = [
        (line, _config_of(path))
        for path in paths
        if path not in trained
        for line in _json_lines(path.with_suffix('.json'))
        if 'acc/top1' in line
    ]
    return Logs(cfg, epochs, steps, trainings, tests)


def read_work_dir(work_dir: Union[str, Path], processor: Optional[str] = None) -> Run:
    """Read a finished and tested run.

    Args:
        work_dir (str | Path): Folder of the run.
        processor (str, optional): For logs that do not name it.

    Raises:
        RunError: If the run is not finished, not tested, or on other data than its config.
        DataError: If the dumped scores are damaged.
    """
    work_dir = Path(work_dir)
    logs = read_logs(work_dir)
    forwards = _last_test(work_dir, logs, backwards=False)
    if forwards is None:
        raise RunError('no scores of its test; run python -m benchmarks.order_test')
    samples, metrics, test_cfg = forwards
    clips, labels, scores = _checked(samples, metrics)
    mirrored = None
    if backwards := _last_test(work_dir, logs, backwards=True):
        names, _, mirrored = _checked(*backwards[:2])
        if not np.array_equal(names, clips):
            raise RunError('the tests forwards and backwards were not of the same clips')
    cfg = Config(logs.cfg.to_dict())
    cfg.test_dataloader = test_cfg.test_dataloader
    name = next(work_dir.glob('*.py')).stem
    path = find_config(name)
    base_cfg = Config.fromfile(path)
    if dataset(cfg) != dataset(base_cfg):
        raise RunError(f'the run used another dataset, {dataset(cfg)}, not {dataset(base_cfg)}')
    base, config_hash, base_lists = settings_of_config(path)
    own_lists = lists(cfg)
    pixels, gmacs, params = _cost(cfg)
    last = [step['loss'] for step in logs.steps if step['epoch'] == logs.epochs]
    info = dict(
        dataset=name.rpartition('_')[2],
        config=name,
        changes=changed_settings(settings(cfg), base),
        train_list=own_lists[0],
        test_list=own_lists[1],
        split=split_name(own_lists, base_lists),
        seed=_seed(logs.trainings[-1]),
        epochs=logs.epochs,
        batch_size=logs.cfg.train_dataloader.batch_size,
        pixels=pixels,
        **{key: round(value, 2) for key, value in accuracies(scores, labels).items()},
        loss=float(f'{np.mean(last):.6g}'),
        gmacs=gmacs,
        params=params,
        minutes=round(sum(_durations(logs.steps)) / 60, 1),
        **_environment(logs.trainings[-1], processor),
        sha256=_checksum(work_dir / f'epoch_{logs.epochs}.pth'),
        config_hash=config_hash,
    )
    info['run'] = run_name(info)
    info['command'] = _commands(logs.trainings) or _command(path, info)
    return Run(info, clips, labels, scores, mirrored)


def _last_test(work_dir, logs, backwards):
    """Samples of the last test in a direction, metrics and config; None if there is none."""
    for metrics, cfg in reversed(logs.tests):
        pipeline = cfg.test_dataloader.dataset.get('pipeline', [])
        is_reversed = any(str(step['type']).endswith('ReverseFrames') for step in pipeline)
        if is_reversed != backwards:
            continue
        evaluators = cfg.test_evaluator
        evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
        dumps = [Path(e.out_file_path) for e in evaluators if e.type == 'DumpResults']
        paths = [p for dump in dumps for p in (dump, work_dir / dump.name) if p.is_file()]
        if not paths:
            continue
        if Path(cfg.load_from).name != f'epoch_{logs.epochs}.pth':
            raise RunError(
                f'tested with {Path(cfg.load_from).name}, not with epoch_{logs.epochs}.pth, the '
                'end of the training'
            )
        return load_scores(paths[0]), metrics, cfg
    return None


def _checked(samples, metrics):
    """Clips, labels and scores by the names of the clips; the accuracy must be the logged one."""
    scores, labels = scores_and_labels(samples)
    (own,) = top_k_accuracy(list(scores), labels.tolist(), (1,))  # as the test counts
    if abs(own - metrics['acc/top1']) > 1e-4:
        raise RunError(
            f'the dumped scores give {100 * own:.2f} % top-1, the log of the test says '
            f'{100 * metrics["acc/top1"]:.2f} %; test again'
        )
    names = np.array(_clip_names(samples))
    order = np.argsort(names)
    return names[order], labels[order], scores[order]


def _clip_names(samples):
    """Ends of the clips' paths, long enough to tell them apart."""
    keys = [key for key in NAME_KEYS if all(key in sample for sample in samples)]
    if not keys:
        return [f'clip {index:05}' for index in range(len(samples))]
    paths = [Path(str(sample[keys[0]])).parts for sample in samples]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ['/'.join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise RunError('a clip is in the test twice')


def _checksum(path):
    """SHA-256 of a checkpoint, which must be the one that a list of runs noted at its test."""
    found = sha256(path)
    noted = path.with_name('finished.json')
    if noted.is_file() and json.loads(noted.read_text(encoding='utf-8'))['sha256'] != found:
        raise RunError(f'{path} has changed since it was tested; test again')
    return found


def _cost(cfg):
    """Pixels of a frame's side, GMACs of all views and millions of parameters."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    pipeline = VideoPipeline(cfg)
    shape = pipeline.view_shape()
    total = get_complexity(MODELS.build(cfg.model), shape)[-1]
    return shape[-1], round(pipeline.num_views * total.macs / 1e9, 2), round(total.params / 1e6, 2)


def _environment(log, processor):
    found = {key: _find(rf'^ *{name}: (\S.*)', log) for key, name in NAMES.items()}
    found['python'] = found['python'] and found['python'].split()[0]
    found['threads'] = found['threads'] and int(found['threads'])
    found['processor'] = found['processor'] or processor
    return dict(found, device='GPU' if 'CUDA available: True' in log else 'CPU')


def _commands(trainings):
    """The commands of a training without the folders of its machine."""
    place = r'(?<![^\s=\'"])/(?:[^\s\'"]*/(?=tools/|configs/)|(?:[^\s/\'"]+/)*)'
    found = [_find(r'^ *Command: (.+)', log) for log in trainings]
    return '; '.join(re.sub(place, '', command) for command in found if command)


def _command(path, info):
    """The command of such a run, for logs that do not have it."""
    words = ['python tools/train.py', path.relative_to(ROOT).as_posix(), f'--seed {info["seed"]}']
    changes = dict(info['changes'])
    if info['split'] != 'test':
        for split in ('train', 'test'):
            changes[f'{split}_dataloader.dataset.ann_file'] = f'annotations/{info[f"{split}_list"]}'
    if changes:
        words += ['--cfg-options', *(f'{key}={value}' for key, value in changes.items())]
    return ' '.join(words)


def _config_of(log):
    return Config.fromfile(log.parent / 'vis_data' / 'config.py')


def _json_lines(path):
    if not path.exists():
        return []
    lines = path.read_text(encoding='utf-8').splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _durations(steps):
    """Seconds between the logged steps: each logs the mean time of its last iterations."""
    before = 0
    for line in steps:
        yield (line['step'] - before) * line['time']
        before = line['step']


def _seed(log):
    return int(_find(r'^ *seed: (\d+)', log))


def _find(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else None


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained and tested')
    parser.add_argument('--results', type=Path, default=RESULTS, help='folder of runs.csv')
    parser.add_argument('--processor', help='of the machine, for logs that do not name it')
    args = parser.parse_args(argv)
    problems = []
    for work_dir in args.work_dirs:
        try:
            run = read_work_dir(work_dir, args.processor)
            add_run(run, args.results)
            print(run.info['run'], *(f'{k} {v:.1f} %' for k, v in run.accuracies.items()))
        except (RunError, DataError, OSError) as error:
            problems.append(f'{work_dir}: {error}')
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
