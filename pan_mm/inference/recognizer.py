"""A trained recognizer from a config and a checkpoint, or a clear error."""

from pathlib import Path
from typing import Optional, Union

import torch
from mmaction.apis import init_recognizer
from mmaction.models.heads import BaseHead
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from pan_mm.config.find import config_path, require_config
from pan_mm.config.pipelines import dataset_of
from pan_mm.config.scale import apply_scale
from pan_mm.datasets.file_lists import read_label_map
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.checkpoint import (
    dataset_meta_of,
    load_checkpoint_file,
    load_checkpoint_url,
    weights_of,
)
from pan_mm.utils.errors import CheckpointError, PANError

from .zoo import find_model, is_path


def load_config(config: Union[str, Path, Config], cfg_options: Optional[dict] = None) -> Config:
    """Read a config that holds a model; a ``Config`` is copied.

    Args:
        config (str | Path | Config): The config, a file or the name of a model of the zoo.
        cfg_options (dict, optional): What to change in it, by dotted keys, and ``size`` and
            ``epochs`` (:mod:`pan_mm.config.scale`).

    Raises:
        OSError: If there is no such file, or it is not a config.
        ValueError: If it has no ``model``.
    """
    if not isinstance(config, Config):
        name = str(config)
        config = config_path(name) if is_path(name) else find_model(name).config
    if isinstance(config, Config):
        config = config.copy()
    else:
        config = Config.fromfile(require_config(config))
    if not config.get('model'):
        raise ValueError(f'{config.filename or "the config"} has no model; give a leaf config')
    config.merge_from_dict(cfg_options or {})
    apply_scale(config)
    return config


def load_recognizer(
    config: Union[str, Path, Config],
    checkpoint: Optional[Union[str, Path]] = None,
    device: Union[str, torch.device, None] = None,
) -> nn.Module:
    """Build the recognizer of a config and load its weights, all of them or none.

    Args:
        config (str | Path | Config): Config of a recognizer.
        checkpoint (str | Path, optional): File or URL. Without one the weights are random.
        device (str | torch.device, optional): Defaults to the accelerator, or the CPU.

    Returns:
        nn.Module: In evaluation mode, with ``cfg``, and ``dataset_meta`` of the checkpoint.

    Raises:
        CheckpointError: If the checkpoint is damaged, would run code, or does not fit the model.
        ValueError: If there is no such device.
    """
    config = load_config(config)
    # It would load partially a checkpoint that does not fit.
    model = init_recognizer(config, None, 'cpu')
    model.dataset_meta = {}
    if checkpoint is not None:
        load = load_checkpoint_url if '://' in str(checkpoint) else load_checkpoint_file
        state, source = load(str(checkpoint)), redact_url(checkpoint)
        load_weights(model, weights_of(state, source), source)
        model.dataset_meta = dataset_meta_of(state, source)
    try:
        return model.to(device or get_device())
    except (RuntimeError, AssertionError) as error:  # PyTorch's errors for a missing device
        reason = str(error).splitlines()[0]
        raise ValueError(f'device {str(device)!r} cannot be used ({reason})') from error


def get_model(
    name: Optional[str] = None,
    pretrained: bool = True,
    device: Union[str, torch.device, None] = None,
) -> nn.Module:
    """Build a recognizer by its name.

    Args:
        name (str, optional): As of :func:`pan_mm.inference.zoo.find_model`.
        pretrained (bool): Load its weights; otherwise they are random. Defaults to True.
        device (str | torch.device, optional): Defaults to the accelerator, or the CPU.

    Raises:
        PANError: If there is no such model, or it has no weights here.
    """
    model = find_model(name)
    if pretrained and model.weights is None:
        raise PANError(
            f'no weights of {model.name} come with pan_mm; take pretrained=False, or '
            'load_recognizer with a checkpoint of yours'
        )
    return load_recognizer(model.config, model.weights if pretrained else None, device=device)


def load_weights(model: nn.Module, state_dict: dict, source: str) -> None:
    """Load a state dict, with or without DDP's ``module.``, that must fit to the last weight."""
    state_dict = {name.removeprefix('module.'): weight for name, weight in state_dict.items()}
    try:
        model.load_state_dict(state_dict)
    except (RuntimeError, ValueError) as error:
        # PyTorch names all that does not fit, in lines without end.
        found = '\n'.join(f'{line:.240}' for line in str(error).splitlines()[:6])
        raise CheckpointError(
            f'{source} does not fit the model of the config: {found} …\n'
            'Give the config that the checkpoint was trained with.'
        ) from error


def require_finite(scores: torch.Tensor) -> None:
    """Refuse scores that are not numbers."""
    if not scores.isfinite().all():
        raise CheckpointError(
            'the model gives scores that are not finite numbers: its training has diverged, or '
            'the checkpoint is damaged'
        )


def count_classes(model: nn.Module) -> int:
    """Number of classes of a recognizer, or of an ensemble of recognizers."""
    for module in model.modules():
        if isinstance(module, BaseHead):
            return module.num_classes
    raise ValueError(f'{type(model).__name__} has no classification head of MMAction2')


def class_names(
    num_classes: int,
    label_map: Optional[Union[str, Path]] = None,
    dataset_meta: Optional[dict] = None,
    config: Optional[Config] = None,
) -> list:
    """Name the classes by the label map, the checkpoint, the config, or the labels' numbers.

    The test dataset of a config may have ``metainfo=dict(classes=…)``, names or the file of them.

    Raises:
        ValueError: If there are more or fewer names than classes.
    """
    if label_map is not None:
        source, names = str(label_map), read_label_map(label_map)
    elif dataset_meta and dataset_meta.get('classes'):
        source, names = "the checkpoint's dataset_meta", list(dataset_meta['classes'])
    else:
        classes = (dataset_of(config or {}).get('metainfo') or {}).get('classes') or ()
        names = read_label_map(classes) if isinstance(classes, str) else list(classes)
        source = "the config's test_dataloader.dataset.metainfo"
    if not names:
        return [str(label) for label in range(num_classes)]
    if len(names) != num_classes:
        raise ValueError(
            f'{source} names {len(names)} classes, but the model has {num_classes}; give the '
            'label map of the data that it was trained on'
        )
    return [str(name) for name in names]
