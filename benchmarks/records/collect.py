"""From the work_dir of a finished run to its record."""

import json
import re
from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmaction.evaluation import top_k_accuracy
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from benchmarks.run_list import sha256
from pan_mm.config.pipelines import VideoPipeline
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.score_fusion import (
    NAME_KEYS,
    accuracies,
    load_scores,
    scores_and_labels,
)
from pan_mm.utils.errors import DataError

from .records import Record, write_record
from .runs import ReportError, commands, is_reversed, read_logs, read_run
from .settings import (
    changed_settings,
    dataset,
    find_config,
    lists,
    record_name,
    settings,
    settings_of_config,
    split_name,
)

CURVE_KEYS = ('epoch', 'step', 'lr', 'loss', 'grad_norm', 'top1_acc', 'time')
MAX_CURVE = 200  # logged steps in a record


def collect_run(
    work_dir: Union[str, Path],
    out: Union[str, Path],
    configs: Union[str, Path],
    machine: Optional[str] = None,
) -> Path:
    """Write the record of a finished run.

    Its JSON holds what :func:`benchmarks.records.runs.read_run` reads, and ``config_hash`` and
    ``changes`` (see :mod:`benchmarks.records.settings`), ``lists`` (of training and test),
    ``pixels`` (of a side), ``gmacs``, ``params`` (millions), ``commands`` and ``checkpoint``, the
    name and SHA-256 of what was tested.

    Args:
        work_dir (str | Path): Folder of the run, trained to its last epoch and tested with
            ``benchmarks/order_test.py``, or with ``tools/test.py --dump``.
        out (str | Path): Folder of the records of one dataset.
        configs (str | Path): The configs of this repository.
        machine (str, optional): What it ran on, for logs that do not tell the processor.

    Returns:
        Path: The record's JSON file. A record of the same run is replaced.

    Raises:
        ReportError: If the run is not finished, not tested, or not of the config's dataset.
        OSError: If files cannot be read or written.
    """
    work_dir = Path(work_dir)
    try:
        record = _record(work_dir, Path(out), configs, machine)
        write_record(record)
        return record.path
    except (ReportError, DataError) as error:
        text = str(error)
        raise ReportError(text if str(work_dir) in text else f'{work_dir}: {text}') from error


def _record(work_dir, out, configs, machine):
    info = read_run(work_dir)
    info['environment'].setdefault('processor', machine)
    logs = read_logs(work_dir)
    forwards = _last_test(work_dir, logs.tests, False, info['epochs'])
    if forwards is None:
        raise ReportError('no scores of its test; run python -m benchmarks.order_test')
    backwards = _last_test(work_dir, logs.tests, True, info['epochs'])
    samples, metrics, test_cfg = forwards
    cfg = Config(logs.cfg.to_dict())
    cfg.test_dataloader = test_cfg.test_dataloader
    path = find_config(configs, info['config'])
    base_cfg = Config.fromfile(path)
    if dataset(cfg) != dataset(base_cfg):
        raise ReportError(f'the run is of another dataset, {dataset(cfg)}, not {dataset(base_cfg)}')
    base, info['config_hash'], wanted_lists = settings_of_config(path)
    info['lists'] = lists(cfg)
    info['split'] = split_name(info['lists'], wanted_lists)
    changes = changed_settings(settings(cfg), base)
    clips, scores = _checked(samples, metrics)
    info.update({key: round(v, 2) for key, v in accuracies(scores, _labels(clips)).items()})
    mirrored = None
    if backwards:
        names, mirrored = _checked(*backwards[:2])
        if names != clips:
            raise ReportError('the tests forwards and backwards were not of the same clips')
    info['pixels'], info['gmacs'], info['params'] = _cost(cfg)
    info['checkpoint'] = _checkpoint(work_dir / f'epoch_{info["epochs"]}.pth')
    told = commands(logs.trainings) or [_command(path, configs, info, changes)]
    info['commands'] = [_without_places(command) for command in told]
    file = out / f'{record_name(info, changes)}.json'
    return Record(file, info, changes, clips, scores, mirrored, _curve(logs.steps))


def _last_test(work_dir, tests, backwards, epochs):
    """Samples of the last test in a direction, metrics and config; None if there is none."""
    for metrics, cfg in reversed(tests):
        if is_reversed(cfg) != backwards:
            continue
        evaluators = cfg.test_evaluator
        evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
        dumps = [Path(e.out_file_path) for e in evaluators if e.type == 'DumpResults']
        paths = [p for dump in dumps for p in (dump, work_dir / dump.name) if p.is_file()]
        if not paths:
            continue
        if Path(cfg.load_from).name != f'epoch_{epochs}.pth':
            raise ReportError(
                f'tested with {Path(cfg.load_from).name}, not with epoch_{epochs}.pth, the end of '
                'the training'
            )
        return load_scores(paths[0]), metrics, cfg
    return None


def _labels(clips):
    return np.array([label for _, label in clips])


def _checked(samples, metrics):
    """Clips and scores, which must have the accuracy that the test logged."""
    scores, labels = scores_and_labels(samples)
    (own,) = top_k_accuracy(list(scores), labels.tolist(), (1,))  # as the test counts
    if abs(own - metrics['acc/top1']) > 1e-4:
        raise ReportError(
            f'the dumped scores give {100 * own:.2f} % top-1, the log of the test says '
            f'{100 * metrics["acc/top1"]:.2f} %; test again'
        )
    return list(zip(_clip_names(samples), labels.tolist())), scores


def _clip_names(samples):
    """Ends of the clips' paths, long enough to tell them apart."""
    keys = [key for key in NAME_KEYS if all(key in sample for sample in samples)]
    if not keys:
        return [f'clip {index}' for index in range(len(samples))]
    paths = [Path(str(sample[keys[0]])).parts for sample in samples]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ['/'.join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise ReportError('a clip is in the test twice')


def _checkpoint(path):
    """Name and SHA-256 of a checkpoint, which must be what a list of runs noted at its test."""
    found = dict(file=path.name, sha256=sha256(path))
    noted = path.with_name('finished.json')
    if noted.is_file():
        before = json.loads(noted.read_text(encoding='utf-8'))['sha256']
        if before != found['sha256']:
            raise ReportError(f'{path} has changed since it was tested; test again')
    return found


def _cost(cfg):
    """Pixels of a frame's side, GMACs of all views and millions of parameters."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    pipeline = VideoPipeline(cfg)
    shape = pipeline.view_shape()
    total = get_complexity(MODELS.build(cfg.model), shape)[-1]
    return shape[-1], round(pipeline.num_views * total.macs / 1e9, 2), round(total.params / 1e6, 2)


def _command(path, configs, info, changes):
    """The command that makes such a run, where the log does not tell it."""
    words = ['python tools/train.py', f'configs/{path.relative_to(configs).as_posix()}']
    words += ['--seed', str(info['seed'])]
    changes = dict(changes)
    if info['split'] != 'test':
        for split, name in zip(('train', 'test'), info['lists']):
            changes[f'{split}_dataloader.dataset.ann_file'] = f'annotations/{name}'
    options = [f'{key}={value}' for key, value in changes.items()]
    return ' '.join([*words, *(['--cfg-options', *options] if options else [])])


def _without_places(command):
    """A command without the absolute folders in it, which mean nothing on other machines."""
    place = r'(?<![^\s=\'"])/(?:[^\s\'"]*/(?=tools/|configs/)|(?:[^\s/\'"]+/)*)'
    return re.sub(place, '', command)


def _curve(steps):
    every = -(-len(steps) // MAX_CURVE)
    kept = steps[::-1][::every][::-1]  # including the last
    keys = [key for key in CURVE_KEYS if all(key in step for step in kept)]
    return {key: np.array([float(f'{step[key]:.5g}') for step in kept]) for key in keys}
