"""Parts that the kernels for GPUs have in common."""

from contextlib import AbstractContextManager, nullcontext
from typing import Optional

import torch
from torch import Tensor

SIZES = (3, 5, 7)


def filters_obstacle(weight: Tensor, max_filters: int, max_channels: int) -> Optional[str]:
    """Say that filters (K, C, k, k) are more or of another size than a kernel takes, else None."""
    num_filters, channels, size, _ = weight.shape
    if size in SIZES and num_filters <= max_filters and channels <= max_channels:
        return None
    return (
        f'takes up to {max_filters} filters of 3 × 3, 5 × 5 or 7 × 7 over up to '
        f'{max_channels} channels, got weight {tuple(weight.shape)}'
    )


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Make the GPU of a tensor the current one; nothing for a processor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
