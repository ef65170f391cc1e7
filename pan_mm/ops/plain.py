"""Persistence of Appearance in plain PyTorch within an operator, where autograd does not record."""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .raw_frames import fold_std
from .reference import frame_differences, persistence_reference


def forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    std: Optional[Sequence[float]],
) -> Tensor:
    """Motion maps of shape (B, m - 1, H, W) in ``dtype``, convolved at ``precision``."""
    frames, weight = _inputs(frames, fold_std(weight, std), precision)
    return persistence_reference(frames, weight, eps).to(dtype)


def backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    needs_frames: bool,
    needs_weight: bool,
    std: Optional[Sequence[float]],
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """Gradients of the frames and the filters, None where not needed."""
    dtypes = frames.dtype, weight.dtype
    frames, weight = _inputs(frames, fold_std(weight, std), precision)
    padding = [weight.shape[-1] // 2] * 2
    differences = frame_differences(frames, weight.dtype)
    features = F.conv2d(differences, weight, padding=padding)
    features = features.to(torch.promote_types(features.dtype, torch.float32)) + eps
    maps = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    scale = (grad_maps.flatten(0, 1).unsqueeze(1) / maps).masked_fill(maps == 0, 0)
    grad_differences, grad_weight, _ = torch.ops.aten.convolution_backward(
        (features * scale).to(weight.dtype), differences, weight, None,
        [1, 1], padding, [1, 1], False, [0, 0], 1, [needs_frames, needs_weight, False],
    )  # fmt: skip
    grad_frames = None
    if needs_frames:
        grad_frames = torch.zeros(frames.shape, dtype=weight.dtype, device=frames.device)
        grad_differences = grad_differences.unflatten(0, (len(frames), frames.shape[1] - 1))
        grad_frames[:, :-1] += grad_differences
        grad_frames[:, 1:] -= grad_differences
        grad_frames = grad_frames.to(dtypes[0])
    if not needs_weight:
        return grad_frames, None
    return grad_frames, fold_std(grad_weight.to(dtypes[1]), std).contiguous()


def _inputs(frames: Tensor, weight: Tensor, precision: torch.dtype) -> tuple:
    if frames.dtype == torch.uint8:  # filters divided by a deviation are too small for float16
        precision = torch.float32
    return frames.to(torch.promote_types(frames.dtype, precision)), weight.to(precision)
