"""The size of the frames and the number of epochs as two options: ``size=112 epochs=15``.

MMEngine merges ``--cfg-options`` into a config that has been executed, where what a base computed
from a variable stays as it was. So pipelines and schedule are changed here, where a runner or a
recognizer takes the config.
"""

import functools
from typing import Any

from mmengine.config import Config

from pan_mm.config.overrides import SCALE
from pan_mm.config.pipelines import change_sizes, frame_size_of, pipelines_of
from pan_mm.utils.errors import PANError


def apply_scale(cfg: Config) -> None:
    """Resolve ``size`` and ``epochs`` of a config, in place; they are None afterwards.

    ``size`` is the height and width that each pipeline shall end with; the sizes before
    changes in proportion. ``epochs`` is the length of the training: what ends with it still does,
    milestones move in proportion, a warm-up keeps its length.

    Raises:
        PANError: If one is not a positive whole number, or the config has nothing to change.
    """
    for name, apply in zip(SCALE, (_resize, _set_epochs)):
        value = cfg.get(name)
        if value is not None:
            if type(value) is not int or value < 1:
                raise PANError(f'{name}={value!r}: it must be a positive whole number')
            apply(cfg, value)
            cfg[name] = None


def _resize(cfg: Config, size: int) -> None:
    for pipeline in pipelines_of(cfg):
        old = frame_size_of(pipeline)
        if old is None:
            names = ', '.join(str(transform['type']) for transform in pipeline)
            raise PANError(f'size={size}: no transform of a pipeline ({names}) fixes the size')
        change_sizes(pipeline, functools.partial(_scaled, old=min(old), new=size))


def _scaled(pixels: Any, old: int, new: int) -> Any:
    """Change a number of pixels in proportion; -1 and factors stay."""
    return round(pixels * new / old) if isinstance(pixels, int) and pixels > 0 else pixels


def _set_epochs(cfg: Config, epochs: int) -> None:
    train_cfg = cfg.get('train_cfg') or {}
    old = train_cfg.get('max_epochs')
    if old is None:
        raise PANError(f'epochs={epochs}: the config has no train_cfg.max_epochs')
    found = cfg.get('param_scheduler') or []
    for scheduler in found if isinstance(found, list) else [found]:
        if not scheduler.get('by_epoch', True):
            continue
        if scheduler.get('end') == old and 'T_max' in scheduler:
            scheduler['T_max'] = max(scheduler['T_max'] + epochs - old, 1)
        if 'end' in scheduler:
            scheduler['end'] = epochs if scheduler['end'] == old else min(scheduler['end'], epochs)
        if 'milestones' in scheduler:
            scheduler['milestones'] = [round(m * epochs / old) for m in scheduler['milestones']]
    train_cfg['max_epochs'] = epochs
    if 'val_begin' in train_cfg:
        train_cfg['val_begin'] = min(train_cfg['val_begin'], epochs)
