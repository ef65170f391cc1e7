"""Persistence of Appearance in plain PyTorch: the definition every fast path is held to."""

import torch
import torch.nn.functional as F
from torch import Tensor


def persistence_reference(frames: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Motion cue of adjacent frames (paper section 3.1).

    The convolution is linear, so ``F_t - F_{t+1} = W * (I_t - I_{t+1})``: it runs on the m - 1
    differences instead of the m frames.

    Args:
        frames (Tensor): Frames, shape (B, m, C, H, W), m >= 2; floating point, or uint8, whose
            differences are taken in the dtype of ``weight``.
        weight (Tensor): Filters W, shape (K, C, k, k), k odd.
        eps (float): Added to each feature difference before the norm.

    Returns:
        Tensor: Maps of shape (B, m - 1, H, W) in the dtype of ``frames``, of ``weight`` for uint8.
        The norm over the K filters is taken in float32 (float64 for float64 frames), because
        eps ** 2 underflows in half precision.
    """
    if not frames.is_floating_point():
        frames = frames.to(weight.dtype)
    batch, num_frames, _, height, width = frames.shape
    differences = frame_differences(frames, weight.dtype)
    # int(): torch.jit.trace makes a size a tensor, which torch 2.8 reads as [].
    features = F.conv2d(differences, weight, padding=int(weight.shape[-1]) // 2)
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    maps = torch.linalg.vector_norm(features + eps, dim=1)  # (B·(m−1), H, W)
    return maps.view(batch, num_frames - 1, height, width).to(frames.dtype)


def frame_differences(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """``I_t - I_{t+1}`` of shape (B·(m−1), C, H, W) in ``dtype``: rounded after the difference."""
    return (frames[:, :-1] - frames[:, 1:]).flatten(0, 1).to(dtype)
