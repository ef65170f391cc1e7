"""Uni-directional temporal shift: segments see the past only, so that streams continue in steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import torch
from mmaction.models.backbones import MobileNetV2TSM, ResNetTSM
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS
from torch import Tensor, nn


class CausalTemporalShift(TemporalShift):
    """Gives 1 / shift_div of each segment's channels to the next segment, none to the one before.

    The first segment gets zeros. This is the online variant of TSM (arXiv 1811.08383, section
    4.2). Under :func:`shift_memory` it takes a segment at a time.
    """

    memory: Optional[dict] = None

    def forward(self, x: Tensor) -> Tensor:
        """Shift, then apply ``net``.

        Args:
            x (Tensor): Shape (N·T, C, H, W); under :func:`shift_memory` the next segment of N
                streams, (N, C, H, W).
        """
        fold = x.shape[1] // self.shift_div
        own = x[:, :fold]
        if self.memory is None:
            past = own.unflatten(0, (-1, self.num_segments))  # (N, T, fold, H, W)
            past = torch.cat([torch.zeros_like(past[:, :1]), past[:, :-1]], dim=1).flatten(0, 1)
        else:
            past = self.memory.get(self)
            past = torch.zeros_like(own) if past is None else past
            self.memory[self] = own.clone()  # not a view that keeps all channels alive
        return self.net(torch.cat([past, x[:, fold:]], dim=1))


@contextmanager
def shift_memory(module: nn.Module, memory: dict) -> Iterator[None]:
    """Run ``module`` segment by segment, keeping what the next segment needs.

    Args:
        module (nn.Module): Holds :class:`CausalTemporalShift`.
        memory (dict): A stream's state, empty at its start; filled here.

    Example:
        >>> memory = {}
        >>> with shift_memory(backbone, memory):  # doctest: +SKIP
        ...     features = [backbone(segment) for segment in segments]
    """
    shifts = [m for m in module.modules() if isinstance(m, CausalTemporalShift)]
    for shift in shifts:
        shift.memory = memory
    try:
        yield
    finally:
        for shift in shifts:
            shift.memory = None


def is_causal(module: nn.Module) -> bool:
    """Tell whether ``module`` holds temporal shifts, all of them causal."""
    shifts = [m for m in module.modules() if isinstance(m, TemporalShift)]
    return bool(shifts) and all(isinstance(m, CausalTemporalShift) for m in shifts)


def _make_causal(backbone):
    if getattr(backbone, 'temporal_pool', False) or len(getattr(backbone, 'non_local_cfg', {})):
        raise ValueError('temporal_pool and non_local look ahead; a causal backbone has neither')
    for parent in list(backbone.modules()):
        for name, child in parent.named_children():
            if type(child) is TemporalShift:
                causal = CausalTemporalShift(child.net, child.num_segments, child.shift_div)
                setattr(parent, name, causal)


@MODELS.register_module()
class ResNetCausalTSM(ResNetTSM):
    """``ResNetTSM`` with causal shift: same arguments, same parameters.

    Raises:
        ValueError: If ``temporal_pool`` or ``non_local_cfg`` is given, which look ahead.
    """

    def init_structure(self) -> None:
        """Insert the shifts."""
        super().init_structure()
        _make_causal(self)


@MODELS.register_module()
class MobileNetV2CausalTSM(MobileNetV2TSM):
    """``MobileNetV2TSM`` with causal shift: same arguments, same parameters."""

    def init_structure(self) -> None:
        """Insert the shifts."""
        super().init_structure()
        _make_causal(self)
