"""Checkpoints of single streams into one of a PANEnsemble."""

from pathlib import Path
from typing import Union

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from pan_mm.utils.files import atomic_write
from pan_mm.version import __version__


def merge_streams(cfg: Config, checkpoints: dict, dst: Union[str, Path]) -> None:
    """Write one checkpoint that holds all streams of a ``PANEnsemble``.

    Args:
        cfg (Config): Config whose ``model`` is a ``PANEnsemble``.
        checkpoints (dict[str, str | Path]): Path or URL of each stream's checkpoint.
        dst (str | Path): The file to write.

    Raises:
        ValueError: If ``checkpoints`` names other streams than the config.
        RuntimeError: If a checkpoint does not fit its stream.
        CheckpointError: If a checkpoint is damaged or would run code.
        OSError: If a file cannot be read or written.
    """
    if set(checkpoints) != set(cfg.model.get('streams', ())):
        raise ValueError(
            f'the streams of the config are {[*cfg.model.get("streams", ())]}, but checkpoints are '
            f'given for {[*checkpoints]}; give one for each'
        )
    model = cfg.model.to_dict()
    checkpoints = {name: str(path) for name, path in checkpoints.items()}
    for name, path in checkpoints.items():
        model['streams'][name]['checkpoint'] = path
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        ensemble = MODELS.build(model)
    meta = dict(streams=checkpoints, pan_mm_version=__version__)
    with atomic_write(dst) as part:
        torch.save(dict(meta=meta, state_dict=ensemble.state_dict()), part)
