"""Weights of other layouts, on their way into a PAN.

A :class:`PANBackbone` adapts given weights, from the outside in:

1. The recognizer: a plain 2D recognizer (TSN, TSM) has at ``backbone.`` what a PAN has at
   ``backbone.backbone.``; the checkpoint of another stream is refused.
2. The names: torchvision's, MMAction2's and those without temporal shift are equivalent.
3. The stem: filters for RGB become filters for the channels of the stream.
"""

import functools
import re
from collections.abc import Callable
from typing import Union

import torch
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from torch import Tensor, nn

INFLATIONS = ('mean', 'keep-rgb', 'zero-motion')
RECOGNIZER = "give a recognizer's checkpoint as load_from, or in init_cfg with prefix='backbone'"


def adapt_loading(pan: nn.Module, inflation: str = 'mean') -> None:
    """Let a ``PANBackbone`` load these layouts, and refuse other streams.

    Args:
        pan (nn.Module): Has a 2D ``backbone`` and the name of its first convolution, ``stem_name``.
        inflation (str): As for :func:`inflate`.

    Raises:
        ValueError: If ``inflation`` is unknown.
    """
    if inflation not in INFLATIONS:
        raise ValueError(f'inflation must be one of {", ".join(INFLATIONS)}, got {inflation!r}')
    stem = pan.backbone.get_submodule(pan.stem_name)
    inflate_stem = functools.partial(_inflate_loaded, inflation)
    hooks = (pan, _adapt_recognizer), (pan.backbone, _rename), (stem, inflate_stem)
    for module, hook in hooks:
        module._register_load_state_dict_pre_hook(hook, with_module=True)


def _adapt_recognizer(pan, state_dict, prefix, *args):
    if not prefix and any(key.startswith('cls_head.') for key in state_dict):
        raise ValueError(f'the checkpoint holds a whole recognizer, not a backbone; {RECOGNIZER}')
    own = [key for key in state_dict if key.startswith(prefix)]
    if not any(key.startswith(f'{prefix}backbone.') for key in own):
        for key in own:
            state_dict[f'{prefix}backbone.{key[len(prefix) :]}'] = state_dict.pop(key)
        return
    # MMEngine would load a part of the checkpoint of another stream.
    found = _describe(pan, {key[len(prefix) :]: state_dict[key] for key in own})
    wanted = _describe(pan, pan.state_dict())
    if found and found != wanted:
        raise ValueError(
            f'the checkpoint has another PAN stream: its first convolution {found}, but stream '
            f'{pan.stream!r} with clip_len={pan.clip_len} {wanted}'
        )


def _describe(pan, state):
    stem = torchvision_name(f'backbone.{pan.stem_name}.weight')
    weight = next((state[key] for key in state if torchvision_name(key) == stem), None)
    has_pa = any(key.startswith('persistence.') for key in state)
    return weight is not None and (
        f'takes {weight.shape[1]} channels, {"with" if has_pa else "without"} PA filters'
    )


def torchvision_name(name: str) -> str:
    """Name that torchvision's ResNet has for a parameter of MMAction2's 2D backbones.

    MMAction2 groups convolution and norm in a ConvModule and wraps shifted layers.

    Example:
        >>> torchvision_name('layer1.0.conv1.conv.net.weight')
        'layer1.0.conv1.weight'
        >>> torchvision_name('layer1.0.downsample.bn.bias')
        'layer1.0.downsample.1.bias'
    """
    name = name.replace('.net.', '.').replace('.block.', '.')
    name = name.replace('downsample.conv.', 'downsample.0.')
    name = name.replace('downsample.bn.', 'downsample.1.')
    name = re.sub(r'\bconv(\d+)\.conv\.', r'conv\1.', name)
    return re.sub(r'\bconv(\d+)\.bn\.', r'bn\1.', name)


def _rename(module, state_dict, prefix, *args):
    names = set(module.state_dict())
    own_name = {torchvision_name(name): name for name in names}
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key[len(prefix) :]
        target = own_name.get(torchvision_name(name))
        if name not in names and target is not None:
            state_dict[prefix + target] = state_dict.pop(key)


def inflate(weight: Tensor, in_channels: int, inflation: str = 'mean') -> Tensor:
    """Filters of an RGB convolution for another number of input channels.

    ============= ============== =============== ===========================================
    inflation     RGB channels   other channels  output, where these are as large as RGB
    ============= ============== =============== ===========================================
    'mean'        mean over RGB  mean over RGB   in_channels / 3 times as large as for RGB
    'keep-rgb'    own, times s   mean, times s   as large as for RGB: s = 3 / in_channels
    'zero-motion' own            zero            that for RGB, exactly
    ============= ============== =============== ===========================================

    'mean' is the paper's, as TSN has it for flow. Three channels keep the weights as they are.

    Args:
        weight (Tensor): Shape (K, 3, k, k).
        in_channels (int): Channels wanted. With 'keep-rgb' and 'zero-motion' the first three are
            RGB.
        inflation (str): One of these. Defaults to 'mean'.

    Returns:
        Tensor: Shape (K, in_channels, k, k).
    """
    if in_channels == weight.shape[1]:
        return weight
    mean = weight.mean(dim=1, keepdim=True)
    if inflation == 'mean':
        return mean.repeat(1, in_channels, 1, 1)
    others = mean.repeat(1, in_channels - 3, 1, 1)
    if inflation == 'zero-motion':
        return torch.cat([weight, torch.zeros_like(others)], dim=1)
    return torch.cat([weight, others], dim=1) * (3 / in_channels)


def _inflate_loaded(inflation, module, state_dict, prefix, *args):
    weight = state_dict.get(f'{prefix}weight')
    if weight is not None and weight.shape[1] == 3:
        state_dict[f'{prefix}weight'] = inflate(weight, module.in_channels, inflation)


def load_pretrained(module: nn.Module, source: Union[str, Callable]) -> None:
    """Load weights into a 2D backbone of a ``PANBackbone``.

    Args:
        module (nn.Module): The 2D backbone.
        source (str | Callable): Path or address of a checkpoint or a ``.safetensors`` file,
            ``'pip://efficientnet-lite0'``, or what returns a state dict.

    Raises:
        ValueError: If the weights belong to another network: MMEngine would load those that fit.
    """
    if callable(source):
        state, source = source(), 'the file'
    else:
        state = CheckpointLoader.load_checkpoint(source, 'cpu', logger='current')
        state = state.get('state_dict', state)
    state = {torchvision_name(key.removeprefix('module.')): value for key, value in state.items()}
    own = {torchvision_name(key): value for key, value in module.state_dict().items()}
    if not own.keys() & state.keys():
        raise ValueError(f'{source} has no weights of {type(module).__name__}; {RECOGNIZER}')
    # Heads and added modules differ in kind; a mere difference in count means another depth.
    kinds = _kinds(own) & _kinds(state)
    other = [
        key
        for key in {**own, **state}
        if kinds & _kinds([key]) and not _fits(own.get(key), state.get(key))
    ]
    if other:
        raise ValueError(
            f'{source} belongs to another network than this {type(module).__name__}: {len(other)} '
            f'parameters differ, such as {other[0]}'
        )
    fitting = {key: value for key, value in state.items() if key in own}
    load_state_dict(module, fitting, strict=False, logger='current')


def _kinds(names):
    return {re.sub(r'\d+', '#', name) for name in names if 'num_batches_tracked' not in name}


def _fits(own, given):
    if own is None or given is None:
        return False
    if given.ndim == 4 and given.shape[1] == 3:  # the stem is inflated
        return own[:, 0].shape == given[:, 0].shape
    return own.shape == given.shape
