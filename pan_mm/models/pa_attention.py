"""PA as attention over appearance features: variant e2 of the paper's ablation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PAAttentionConv2d(nn.Conv2d):
    """First convolution of a backbone, whose features weigh more where something moves.

    ``conv(frame) · (1 + strength · tanh(mean of the PA maps))``. The paper leaves the form open.
    In this one what stands still keeps its features, so that RGB weights can be loaded as they
    are; ``strength`` is learned. Same arguments as ``nn.Conv2d``, padded to ⌈H / stride⌉.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and weigh.

        Args:
            x (Tensor): A frame and its PA maps, (N·T, in_channels + m − 1, H, W).

        Returns:
            Tensor: Shape (N·T, out_channels, h, w).
        """
        features = super().forward(x[:, : self.in_channels])
        attention = x[:, self.in_channels :].mean(dim=1, keepdim=True)  # (N·T, 1, H, W)
        attention = F.avg_pool2d(attention, self.stride, ceil_mode=True)
        return features * (1 + self.strength * attention.tanh())
