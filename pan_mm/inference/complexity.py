"""Multiply-accumulates and parameters of a recognizer, as the paper counts them."""

import copy
from typing import NamedTuple

import torch
from mmaction.models import Recognizer3D
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pan_mm.models import PersistenceOfAppearance


class Complexity(NamedTuple):
    """Cost of a model for one view."""

    params: int
    macs: int  # multiply-accumulates of convolutions and matrix products, as executed
    # The same, with PA as the paper counts it: m frames convolved, not their m − 1 differences.
    paper_macs: int


def get_complexity(model: nn.Module, input_shape: tuple) -> Complexity:
    """Count what a recognizer costs for one view; nothing is computed.

    Norms, activations, pooling and the like count zero, as in the paper (and in most papers).

    Args:
        model (nn.Module): A recognizer, ``PANEnsemble`` included; its weights do not matter, so
            it may have been built under ``torch.device('meta')``.
        input_shape (tuple[int]): (T·m, 3, H, W), also for a 3D recognizer.
    """
    model = copy.deepcopy(model).to('meta').eval()
    frames, *image = input_shape
    clip = (1, 1, image[0], frames, *image[1:])  # (N, views, C, T, H, W)
    shape = clip if isinstance(model, Recognizer3D) else (1, *input_shape)
    spared = []  # multiply-accumulates of a frame in each segment

    def note(pa, args):
        segments, _, _, height, width = args[0].shape  # (N·T, m, C, H, W)
        spared.append(segments * height * width * _count(pa))

    for module in model.modules():
        if isinstance(module, PersistenceOfAppearance):
            module.register_forward_pre_hook(note)
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            module.forward = lambda x: x  # counts zero, and takes half of the time
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device='meta'), mode='tensor', stage='head')
    macs = counter.get_total_flops() // 2  # two for a multiply-accumulate
    return Complexity(_count(model), macs, macs + sum(spared))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
