"""Multiply-accumulates and parameters of a recognizer, as the paper counts them."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from mmaction.models import Recognizer3D
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pan_mm.models import PANBackbone, PANEnsemble, PersistenceOfAppearance


class Complexity(NamedTuple):
    """Cost of one part of a model for one view.

    Attributes:
        name (str): Name of the module; '' is the whole model.
        params (int): Parameters.
        macs (int): Multiply-accumulates of convolutions and matrix products, as executed.
        paper_macs (int): The same, with PA as the paper counts it: m frames convolved instead of
            their m − 1 differences.
    """

    name: str
    params: int
    macs: int
    paper_macs: int


def get_complexity(model: nn.Module, input_shape: tuple) -> list:
    """Count what a recognizer costs for one view; nothing is computed.

    Norms, activations, pooling and the like count zero, as in the paper (and in most papers).

    Args:
        model (nn.Module): A recognizer, ``PANEnsemble`` included; its weights do not matter, so
            it may have been built under ``torch.device('meta')``.
        input_shape (tuple[int]): (T·m, 3, H, W), also for a 3D recognizer.

    Returns:
        list[Complexity]: The parts in order of the model, the whole model last.
    """
    model = copy.deepcopy(model).to('meta').eval()
    frames, *image = input_shape
    clip = (1, 1, image[0], frames, *image[1:])  # (N, views, C, T, H, W)
    shape = clip if isinstance(model, Recognizer3D) else (1, *input_shape)
    lengths = {}  # of the segments that each PA module sees
    for name, module in model.named_modules():
        if isinstance(module, PersistenceOfAppearance):
            module.register_forward_pre_hook(
                lambda module, args, name=name: lengths.update({name: args[0].shape[1]})
            )
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            module.forward = lambda x: x  # counts zero, and takes half of the time
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device='meta'), mode='tensor', stage='head')
    flops = counter.get_flop_counts()  # two for a multiply-accumulate

    def macs(name):
        counted = flops.get(f'{type(model).__name__}.{name}'.rstrip('.'))
        if counted is not None:
            return sum(counted.values()) // 2
        # A recognizer inside an ensemble is not called as a module, but its parts are.
        children = model.get_submodule(name).named_children()
        return sum(macs(f'{name}.{child}') for child, _ in children)

    def cost(name):
        extra = sum(
            macs(pa) // (length - 1) for pa, length in lengths.items() if f'{pa}.'.startswith(name)
        )
        module = model.get_submodule(name)
        params = sum(parameter.numel() for parameter in module.parameters())
        return Complexity(name, params, macs(name), macs(name) + extra)

    return [cost(name) for name in (*_parts(model), '')]


def _parts(module: nn.Module, prefix: str = '') -> Iterator[str]:
    """Names of the parts worth a line: each stream, and in it PA, 2D backbone and head."""
    for name, child in module.named_children():
        if isinstance(module, PANEnsemble) and name == 'streams':
            for stream, recognizer in child.items():
                yield f'{prefix}streams.{stream}'
                yield from _parts(recognizer, f'{prefix}streams.{stream}.')
        elif isinstance(child, PANBackbone):
            yield from _parts(child, f'{prefix}{name}.')
        elif any(True for _ in child.parameters()):
            yield prefix + name
