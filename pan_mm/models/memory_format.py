"""Recognizers whose backbones compute channels-last."""

from collections.abc import Iterator

import torch
from torch import nn

from .streams import recognizers_of, streams_of


def backbones(model: nn.Module) -> Iterator[nn.Module]:
    """The backbones of a recognizer or of an ensemble's streams; behind PA, the 2D backbones."""
    pans = streams_of(model).values()
    for recognizer in recognizers_of(model).values():
        yield recognizer.backbone.backbone if recognizer in pans else recognizer.backbone


def to_channels_last(backbone: nn.Module) -> None:
    """Lay out the weights of a backbone and what enters it channels-last, in place."""
    for parameter in backbone.parameters():
        if parameter.ndim in _FORMATS:
            parameter.data = parameter.data.contiguous(memory_format=_FORMATS[parameter.ndim])
    backbone.register_forward_pre_hook(_enter)


def _enter(module, args):
    return tuple(x.contiguous(memory_format=_FORMATS[x.ndim]) for x in args)


_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
