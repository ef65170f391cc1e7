"""Settings that determine a run's weights and scores, and how a run differs from its config."""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
PLACES = ('data_root', 'data_prefix', 'ann_file')
SIZE = re.compile(r'\.pipeline\.\d+\.(scale|input_size|crop_size)\b')
LENGTH = re.compile(r'^train_cfg\.max_epochs$|^param_scheduler\.\d+\.(T_max|end)$')


class RunError(ValueError):
    """A run is not finished, not tested, or contradicts its config."""


def settings(cfg: Config) -> dict:
    """Flatten the settings that determine weights and scores: ``{'model.backbone.depth': 18}``.

    The location of the data and its lists are left to :func:`dataset` and :func:`lists`.
    """
    kept = {
        key: cfg.get(key)
        for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks')
    }
    load_from = None if cfg.get('resume') else cfg.get('load_from')
    kept['load_from'] = load_from and '/'.join(Path(load_from).parts[-2:])  # work_dir and name
    kept['scaled_lr'] = cfg.get('auto_scale_lr', {}).get('enable', False)
    kept['train_dataloader.batch_size'] = (cfg.get('train_dataloader') or {}).get('batch_size')
    for split in ('train', 'test'):
        kept[f'{split}_dataloader.dataset'] = _dataset(cfg, split)
    flat = _flat(json.loads(json.dumps(kept, default=str)))
    return {k: v for k, v in flat if '_dataloader.dataset.' not in k or not _is_place(k)}


def _dataset(cfg, split):
    return dict((cfg.get(f'{split}_dataloader') or {}).get('dataset', {}))


def _is_place(key):
    return any(part in PLACES for part in key.split('.'))


def _flat(value: Any, name: str = '') -> Iterator:
    items: Iterable
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, item in items:
        yield from _flat(item, f'{name}.{key}' if name else str(key))


def _names(cfg, split, place):
    """Last names of the paths of a kind in a dataset, in those that it wraps too."""
    flat = _flat(json.loads(json.dumps(_dataset(cfg, split), default=str)))
    return [Path(v or '').name for k, v in flat if k.rpartition('.')[2] == place]


def lists(cfg: Config) -> list:
    """Names of the annotation lists that a config trains and tests on."""
    return [', '.join(_names(cfg, split, 'ann_file')) for split in ('train', 'test')]


def dataset(cfg: Config) -> str:
    """Type and folder of the test data."""
    kind, folders = _dataset(cfg, 'test').get('type'), _names(cfg, 'test', 'data_root')
    return f'{kind} in {", ".join(folders) or "no folder"}'


def changed_settings(own: dict, other: dict) -> dict:
    """Settings that differ from others; None for those that only the others have."""
    return {
        key: own.get(key)
        for key in sorted(own.keys() | other.keys())
        if own.get(key) != other.get(key)
    }


def without_scale(changes: dict) -> dict:
    """Leave out changes of the frames' size and of the number of epochs."""
    lengths = _lengths(changes)
    return {k: v for k, v in changes.items() if not (SIZE.search(k) or k in lengths)}


def only_length(changes: dict) -> bool:
    """Return True if nothing but the number of epochs was changed."""
    return changes.keys() == _lengths(changes)


def _lengths(changes):
    """Settings that follow the number of epochs."""
    epochs = changes.get('train_cfg.max_epochs')
    return {k for k, v in changes.items() if epochs and v == epochs and LENGTH.search(k)}


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


@functools.cache
def find_config(name: str) -> Path:
    """Find a config of this repository, in ``configs`` or ``projects``, by its name.

    Raises:
        RunError: If there is none.
    """
    for folder in ('configs', 'projects'):
        for path in sorted((ROOT / folder).rglob(f'{name}.py')):
            return path
    raise RunError(f'there is no config {name}.py that a run could be compared with')


@functools.cache
def settings_of_config(path: Path) -> tuple:
    """Settings, their hash (12 digits), and :func:`lists` of a config file."""
    cfg = Config.fromfile(path)
    own = settings(cfg)
    return own, hashlib.sha256(_json(own)).hexdigest()[:12], lists(cfg)


def _json(value):
    return json.dumps(value, sort_keys=True).encode()


def run_name(info: dict) -> str:
    """Name of a run: its config without the dataset, what was changed, the seed."""
    changes = info['changes']
    parts = [info['config'].rpartition('_')[0] or info['config']]
    parts += [info['split']] if info['split'] != 'test' else []
    parts += [f'{info["pixels"]}px'] if any(map(SIZE.search, changes)) else []
    parts += [f'{info["epochs"]}e'] if 'train_cfg.max_epochs' in changes else []
    if kept := without_scale(changes):
        short = sorted({f'{key.rpartition(".")[2]}-{value}' for key, value in kept.items()})
        text = re.sub(r'[^\w.-]+', '', '_'.join(short))[:24].rstrip('._-')
        parts.append(f'{text}-{hashlib.sha256(_json(kept)).hexdigest()[:4]}')
    return '_'.join([*parts, f'seed{info["seed"]}'])
