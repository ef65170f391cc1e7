"""Records of runs: the small text files that a finished run leaves in ``results/``."""

import csv
import functools
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
from mmaction.evaluation import mean_class_accuracy, top_k_accuracy
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pan_mm.datasets.pipelines import VideoPipeline
from pan_mm.inference.complexity import get_complexity
from pan_mm.inference.score_fusion import NAME_KEYS, load_scores
from pan_mm.utils.errors import DataError

from .runs import Logs, ReportError, commands, is_reversed, read_logs, read_run

CURVE_KEYS = ('epoch', 'step', 'lr', 'loss', 'grad_norm', 'top1_acc', 'time')
MAX_CURVE = 200  # logged steps in a record
DIGITS = 5  # of a score in a record; at four, classes of a clip tied
SIZE = re.compile(r'\.pipeline\.\d+\.(scale|input_size|crop_size)\b')
LENGTH = re.compile(r'^train_cfg\.max_epochs$|^param_scheduler\.\d+\.(T_max|end)$')
DEV_SPLIT = ('dev_train.txt', 'dev_val.txt')


class Record(NamedTuple):
    """What one run left.

    Attributes:
        folder (Path): Where it is.
        info (dict): Of :func:`benchmarks.records.runs.read_run`, and ``split`` ('test', 'swap' or
            'dev'), ``commands``, ``pixels`` (of a side), ``gmacs``, ``params`` (millions).
        changes (dict): Settings in which the run differs from its config in this repository.
        clips (list[tuple]): Name and label of each test clip.
        scores (np.ndarray): Logits of the test clips, shape (N, num_classes).
        backwards (np.ndarray, optional): The same of the clips played backwards.
        curve (list[dict]): Logged steps of the training.
    """

    folder: Path
    info: dict
    changes: dict
    clips: list
    scores: np.ndarray
    backwards: Optional[np.ndarray]
    curve: list

    @property
    def labels(self) -> np.ndarray:
        return np.array([label for _, label in self.clips])


def accuracies(scores: np.ndarray, labels: Sequence[int]) -> dict:
    """Top-1, top-5 and mean class accuracy in percent."""
    top1, top5 = top_k_accuracy(list(scores), list(labels), (1, min(5, scores.shape[1])))
    mean_class = mean_class_accuracy(list(scores), list(labels))
    return dict(top1=100 * top1, top5=100 * top5, mean_class=100 * mean_class)


def settings(cfg: Config) -> dict:
    """What determines the weights and scores of a run, flat: ``{'model.backbone.depth': 18}``."""
    kept = {
        key: cfg.get(key)
        for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks')
    }
    kept['load_from'] = None if cfg.get('resume') else _work_dir_and_name(cfg.get('load_from'))
    kept['scaled_lr'] = cfg.get('auto_scale_lr', {}).get('enable', False)
    train = cfg.get('train_dataloader') or {}
    kept['train_dataloader.batch_size'] = train.get('batch_size')
    places = ('data_root', 'data_prefix', 'ann_file')
    for split in ('train', 'test'):
        dataset = dict((cfg.get(f'{split}_dataloader') or {}).get('dataset', {}))
        kept[f'{split}_dataloader.dataset'] = {
            key: value for key, value in dataset.items() if key not in places
        }
    return dict(_flat(json.loads(json.dumps(kept, default=str))))


def _work_dir_and_name(path):
    return path and '/'.join(Path(path).parts[-2:])


def _flat(value, name=''):
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, item in items:
        yield from _flat(item, f'{name}.{key}' if name else str(key))


def changed_settings(own: dict, other: dict) -> dict:
    """Settings that differ from others; None for those that the others alone have."""
    return {
        key: own.get(key)
        for key in sorted(own.keys() | other.keys())
        if own.get(key) != other.get(key)
    }


def without_scale(changes: dict) -> dict:
    """Changes without those of the frames' size and of the number of epochs."""
    epochs = changes.get('train_cfg.max_epochs')
    return {
        key: value
        for key, value in changes.items()
        if not (SIZE.search(key) or (epochs and value == epochs and LENGTH.search(key)))
    }


@functools.cache
def settings_of_config(path: Path) -> dict:
    """:func:`settings` of a config file."""
    return settings(Config.fromfile(path))


def find_config(configs: Union[str, Path], name: str) -> Path:
    """The config of that name in a folder of configs.

    Raises:
        ReportError: If there is none.
    """
    paths = sorted(Path(configs).rglob(f'{name}.py'))
    if not paths:
        raise ReportError(f'{configs} has no config {name}.py that a run could be held against')
    return paths[0]


def _split(cfg, base):
    """'test' for the config's split, 'swap' for its swap, 'dev' for what settings are chosen on."""
    files = [
        Path(c[f'{split}_dataloader'].dataset.get('ann_file') or '').name
        for c in (cfg, base)
        for split in ('train', 'test')
    ]
    if files[:2] == files[2:]:
        return 'test'
    if files[:2] == files[:1:-1]:
        return 'swap'
    if tuple(files[:2]) == DEV_SPLIT:
        return 'dev'
    raise ReportError(
        f'trained on {files[0]} and tested on {files[1]}, not on the split of the config '
        f'({files[2]}, {files[3]}) nor on {" and ".join(DEV_SPLIT)}'
    )


def _check_dataset(cfg, base):
    own, wanted = (
        (dataset.type, Path(dataset.get('data_root') or '').name)
        for dataset in (c.test_dataloader.dataset for c in (cfg, base))
    )
    if own != wanted:
        raise ReportError(
            f'the run is of another dataset, {own[0]} in {own[1] or "no folder"}, not '
            f'{wanted[0]} in {wanted[1] or "no folder"}'
        )


def _check_neighbours(out, config):
    """Refuse a record among those of another dataset, which configs name last."""
    wanted = config.rpartition('_')[2]
    for path in out.glob('*_seed*/run.json'):
        other = json.loads(path.read_text(encoding='utf-8'))['config'].rpartition('_')[2]
        if other != wanted:
            raise ReportError(f'the run is of {wanted}, {out} holds records of {other}')


def _scores_of(work_dir, tests, backwards, epochs):
    """Samples of the last test in a direction, with its metrics; None if there is none."""
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


def _clips(samples):
    keys = [key for key in NAME_KEYS if all(key in sample for sample in samples)]
    names = [Path(str(s[keys[0]])).name if keys else f'clip {i}' for i, s in enumerate(samples)]
    return list(zip(names, (int(sample['gt_label']) for sample in samples)))


def collect_run(
    work_dir: Union[str, Path],
    out: Union[str, Path],
    configs: Union[str, Path],
    machine: Optional[str] = None,
) -> Path:
    """Write the record of a finished run: ``run.json``, ``config.json``, ``curve.json``, scores.

    Args:
        work_dir (str | Path): Folder of the run, trained to its last epoch and tested with
            ``benchmarks/order_test.py``, or with ``tools/test.py --dump``.
        out (str | Path): Folder of records; this one goes into ``out/CONFIG_seedN``, with what
            was changed from the config in between.
        configs (str | Path): The configs of this repository.
        machine (str, optional): What it ran on, for logs that do not tell the processor.

    Returns:
        Path: The record's folder. A record of the same run is replaced.

    Raises:
        ReportError: If the run is not finished, not tested, or not of the config's dataset.
        OSError: If files cannot be read or written.
    """
    work_dir, out = Path(work_dir), Path(out)
    try:
        return _collect(work_dir, out, configs, machine)
    except (ReportError, DataError) as error:
        text = str(error)
        raise ReportError(text if str(work_dir) in text else f'{work_dir}: {text}') from error


def _collect(work_dir, out, configs, machine):
    info = read_run(work_dir)
    info['environment'].setdefault('processor', machine)
    logs = read_logs(work_dir)
    forwards = _scores_of(work_dir, logs.tests, False, info['epochs'])
    if forwards is None:
        raise ReportError('no scores of its test; run python -m benchmarks.order_test')
    backwards = _scores_of(work_dir, logs.tests, True, info['epochs'])
    cfg = Config(logs.cfg.to_dict())
    cfg.test_dataloader = forwards[2].test_dataloader
    path = find_config(configs, info['config'])
    base = Config.fromfile(path)
    _check_dataset(cfg, base)
    _check_neighbours(out, info['config'])
    info['split'] = _split(cfg, base)
    changes = changed_settings(settings(cfg), settings(base))
    clips = _clips(forwards[0])
    if backwards and _clips(backwards[0]) != clips:
        raise ReportError('the tests forwards and backwards were not of the same clips')
    scores = _rounded(forwards[0])
    own = _checked(scores, clips, forwards[1])
    info.update({name: round(value, 2) for name, value in own.items()})
    if backwards:
        mirrored = _rounded(backwards[0])
        _checked(mirrored, clips, backwards[1])
    info['pixels'], info['gmacs'], info['params'] = _cost(cfg)
    info['commands'] = commands(logs.trainings) or [_command(path, configs, info, changes)]
    info['commands'] = [_without_places(command) for command in info['commands']]
    folder = out / record_name(info, changes)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.record', dir=out) as part:
        part = Path(part) / 'record'
        part.mkdir()
        (part / 'run.json').write_text(json.dumps(info, indent=2) + '\n', encoding='utf-8')
        config = json.dumps(_portable(cfg, base, folder.name).to_dict(), indent=1)
        (part / 'config.json').write_text(config + '\n', encoding='utf-8')
        (part / 'curve.json').write_text(_curve_text(logs), encoding='utf-8')
        _write_scores(part / 'scores.csv', clips, scores)
        if backwards:
            _write_scores(part / 'backwards.csv', clips, mirrored)
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
    return folder


def _rounded(samples):
    """Scores as the record keeps them, of ``DIGITS`` digits."""
    scores = torch.stack([sample['pred_score'] for sample in samples]).double().numpy()
    return np.array([[float(f'{score:.{DIGITS}g}') for score in row] for row in scores])


def _checked(scores, clips, metrics):
    """Accuracies of the scores, which must be those that the test logged."""
    own = accuracies(scores, [label for _, label in clips])
    # One clip may change sides where scores are rounded.
    if abs(own['top1'] - 100 * metrics['acc/top1']) > 100.01 / len(clips):
        raise ReportError(
            f'the dumped scores give {own["top1"]:.2f} % top-1, the log of the test says '
            f'{100 * metrics["acc/top1"]:.2f} %; test again'
        )
    return own


def record_name(info: dict, changes: dict) -> str:
    """Name of a record's folder."""
    parts = [info['config'], *([info['split']] if info['split'] != 'test' else [])]
    parts += [f'{info["pixels"]}px'] if any(map(SIZE.search, changes)) else []
    parts += [f'{info["epochs"]}e'] if 'train_cfg.max_epochs' in changes else []
    kept = without_scale(changes)
    short = {f'{key.rpartition(".")[2]}-{value}' for key, value in kept.items()}
    parts += sorted(re.sub(r'[^\w.-]+', '', text)[:40] for text in short)
    return '_'.join([*parts[:8], f'seed{info["seed"]}'])


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
    if info['split'] == 'dev':
        for split, name in zip(('train', 'test'), DEV_SPLIT):
            changes[f'{split}_dataloader.dataset.ann_file'] = f'annotations/{name}'
    options = [f'{key}={value}' for key, value in changes.items()]
    return ' '.join([*words, *(['--cfg-options', *options] if options else [])])


def _without_places(command):
    """A command without the absolute folders in it, which mean nothing on other machines."""
    place = r'(?<![^\s=\'"])/(?:[^\s\'"]*/(?=tools/|configs/)|(?:[^\s/\'"]+/)*)'
    return re.sub(place, '', command)


def _portable(cfg, base, name):
    """The config of a run without the paths of its machine."""
    cfg = Config(cfg.to_dict())
    cfg.work_dir = f'work_dirs/{name}'
    if cfg.get('load_from'):
        cfg.load_from = f'work_dirs/{_work_dir_and_name(cfg.load_from)}'
    for split in ('train', 'val', 'test'):
        if cfg.get(f'{split}_dataloader'):
            own, theirs = (c[f'{split}_dataloader'].dataset for c in (cfg, base))
            own.update({key: theirs[key] for key in ('data_root', 'data_prefix') if key in theirs})
    return cfg


def _curve_text(logs: Logs):
    every = -(-len(logs.steps) // MAX_CURVE)
    kept = logs.steps[::-1][::every][::-1]  # with the last step
    lines = [
        json.dumps({key: float(f'{step[key]:.5g}') for key in CURVE_KEYS if key in step})
        for step in kept
    ]
    return '[\n' + ',\n'.join(lines) + '\n]\n'


def _write_scores(path, clips, scores):
    with path.open('w', encoding='utf-8', newline='') as file:
        rows = csv.writer(file, lineterminator='\n')
        rows.writerow(['clip', 'label', *range(scores.shape[1])])
        for (name, label), row in zip(clips, scores):
            rows.writerow([name, label, *(f'{score:.{DIGITS}g}' for score in row)])


def _read_scores(path):
    with path.open(encoding='utf-8', newline='') as file:
        _, *rows = csv.reader(file)
    clips = [(row[0], int(row[1])) for row in rows]
    return clips, np.array([row[2:] for row in rows], dtype=float)


def read_record(folder: Union[str, Path], configs: Union[str, Path]) -> Record:
    """Read a record back.

    Raises:
        ReportError: If files are missing, damaged, or contradict each other.
    """
    folder = Path(folder)
    try:
        info = json.loads((folder / 'run.json').read_text(encoding='utf-8'))
        curve = json.loads((folder / 'curve.json').read_text(encoding='utf-8'))
        clips, scores = _read_scores(folder / 'scores.csv')
        own = accuracies(scores, [label for _, label in clips])
        backwards = None
        if (folder / 'backwards.csv').is_file():
            others, backwards = _read_scores(folder / 'backwards.csv')
            if others != clips:
                raise ReportError(f'{folder}: scores.csv and backwards.csv name other clips')
        cfg = Config.fromfile(folder / 'config.json')
        seed = cfg.get('randomness', {}).get('seed')
        if str(info['seed']) != folder.name.rpartition('_seed')[2] or seed not in (
            None,
            info['seed'],
        ):
            raise ReportError(
                f'{folder}: the name, run.json and config.json tell different seeds, '
                f'{folder.name.rpartition("_seed")[2]}, {info["seed"]} and {seed}'
            )
        if abs(own['top1'] - info['top1']) > 0.01:
            raise ReportError(f'{folder}: scores.csv and run.json do not tell the same accuracy')
        base = settings_of_config(find_config(configs, info['config']))
        changes = changed_settings(settings(cfg), base)
        return Record(folder, info, changes, clips, scores, backwards, curve)
    except ReportError:
        raise
    except (OSError, ValueError, KeyError, IndexError, SyntaxError) as error:
        raise ReportError(f'{folder} is no whole record of a run: {error}') from error


def read_records(folder: Union[str, Path], configs: Union[str, Path]) -> tuple:
    """Read all records in a folder that belong together.

    Returns:
        tuple: Records, and texts that name those left out: damaged ones, and of each split those
        whose test clips or labels are not those of most.
    """
    records, problems = [], []
    for path in sorted(Path(folder).glob('[!.]*/')):
        try:
            records.append(read_record(path, configs))
        except ReportError as error:
            problems.append(str(error))
    for split in ('test', 'swap', 'dev'):
        own = [record for record in records if record.info['split'] == split]
        if own:
            usual, _ = Counter(tuple(sorted(record.clips)) for record in own).most_common(1)[0]
            for record in own:
                if tuple(sorted(record.clips)) != usual:
                    records.remove(record)
                    problems.append(f'{record.folder} was tested on other clips than most')
    return records, problems
