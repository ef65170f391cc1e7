"""The one entry to Persistence of Appearance; chooses how it is computed."""

from torch import Tensor

from .reference import persistence_reference


def persistence_of_appearance(frames: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """PA_t(x, y) = ‖F_t(x, y) − F_{t+1}(x, y) + ε‖₂ for each pair of adjacent frames.

    Args:
        frames (Tensor): Normalised frames, floating point, shape (B, m, C, H, W), m >= 2.
        weight (Tensor): Filters of the shallow convolution, shape (K, C, k, k), k odd.
        eps (float): Added to each feature difference before the norm. Defaults to 1e-6.

    Returns:
        Tensor: Maps of shape (B, m - 1, H, W) in the dtype of ``frames``.

    Raises:
        ValueError: If the shapes do not fit the above.

    Example:
        >>> frames, weight = torch.rand(2, 4, 3, 32, 32), torch.rand(8, 3, 7, 7)
        >>> persistence_of_appearance(frames, weight).shape
        torch.Size([2, 3, 32, 32])
    """
    if frames.ndim != 5 or frames.shape[1] < 2:
        raise ValueError(
            f'frames must have the shape (B, m, C, H, W) with m >= 2, got {tuple(frames.shape)}'
        )
    if weight.ndim != 4 or weight.shape[1] != frames.shape[2]:
        raise ValueError(
            f'weight must have the shape (K, {frames.shape[2]}, k, k) to fit the frames, '
            f'got {tuple(weight.shape)}'
        )
    if weight.shape[-1] != weight.shape[-2] or weight.shape[-1] % 2 == 0:
        raise ValueError(f'weight needs square filters of odd size, got {tuple(weight.shape)}')
    return persistence_reference(frames, weight, eps)
