"""PA: a motion cue from the feature differences of adjacent frames (paper section 3.1)."""

from collections.abc import Sequence
from typing import Optional

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from pan_mm.ops import BACKENDS, persistence_of_appearance


@MODELS.register_module()
class PersistenceOfAppearance(nn.Module):
    """Maps m adjacent frames to m - 1 motion maps at full resolution.

    A shallow convolution without bias, which would cancel in the difference, then the norm over
    its filters; see :func:`pan_mm.ops.persistence_of_appearance`.

    Args:
        in_channels (int): Channels of a frame. Defaults to 3.
        num_filters (int): Filters of the shallow convolution. Defaults to 8.
        kernel_size (int): Size of a filter, odd. Defaults to 7.
        init_std (float): Standard deviation of the filters at the start. Defaults to 0.001.
        init_delta (float): Added at the center of filter c for channel c, so that with a small
            ``init_std`` PA starts as the norm of the frames' differences. Defaults to 0.
        eps (float): Added to each feature difference before the norm. Defaults to 1e-6.
        std (Sequence[float], optional): Standard deviation of each channel, in the units of raw
            frames: lets the module take raw uint8 frames too. Defaults to None.
        backend (str): 'auto', 'reference', 'cpu', 'triton' or 'cuda', see
            :func:`pan_mm.ops.persistence_of_appearance`. Defaults to 'auto'.

    Raises:
        ValueError: If ``kernel_size`` is even or ``backend`` unknown.
    """

    maps_per_pair = 1  # see pan_mm.models.motion_cues

    def __init__(
        self,
        in_channels: int = 3,
        num_filters: int = 8,
        kernel_size: int = 7,
        init_std: float = 0.001,
        eps: float = 1e-6,
        std: Optional[Sequence[float]] = None,
        backend: str = 'auto',
        init_delta: float = 0.0,
    ) -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd to keep H and W, got {kernel_size}')
        self.eps, self.std, self.backend = eps, std, backend
        # Holds the filters; the operator applies them.
        self.conv = nn.Conv2d(in_channels, num_filters, kernel_size, bias=False)
        nn.init.normal_(self.conv.weight, std=init_std)
        weight = self.conv.weight.data
        weight += init_delta * nn.init.dirac_(torch.empty_like(weight))

    def forward(self, frames: Tensor) -> Tensor:
        """Maps (N·T, m - 1, H, W) of frames (N·T, m, C, H, W), normalized or, with ``std``, raw.

        They have the dtype of the frames; for uint8 frames, of the filters.
        """
        std = self.std if frames.dtype == torch.uint8 else None
        return persistence_of_appearance(frames, self.conv.weight, self.eps, std, self.backend)
