"""Pooling in VAP's place, ``VAPHead(aggregation=dict(type=...))``."""

from mmaction.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SegmentPooling(nn.Module):
    """One maximum, or one mean, over all segments: VAP without timescales and weights.

    Args:
        num_segments (int): T, any number.
        mode (str): 'max' or 'mean'. Defaults to 'max'.

    Raises:
        ValueError: If ``mode`` is unknown.
    """

    def __init__(self, num_segments: int, mode: str = 'max') -> None:
        super().__init__()
        if mode not in ('max', 'mean'):
            raise ValueError(f"mode must be 'max' or 'mean', got {mode!r}")
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, T, C) into (N, C)."""
        return x.amax(dim=1) if self.mode == 'max' else x.mean(dim=1)
