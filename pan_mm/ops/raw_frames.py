"""Filters for raw frames, which spare the normalization: the mean cancels in a difference."""

from collections.abc import Sequence
from typing import Optional

from torch import Tensor


def fold_std(weight: Tensor, std: Optional[Sequence[float]]) -> Tensor:
    """Filters (K, C, k, k) for raw frames, or their gradient: each channel over its ``std``."""
    return weight if std is None else weight / weight.new_tensor(std).view(-1, 1, 1)
