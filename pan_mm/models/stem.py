"""The first convolution of a 2D backbone, changed to the channels of a PAN stream."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_mm.utils.modules import replace_submodule


class PAAttention(nn.Module):
    """Lets a stem's features weigh more where something moves: variant e2 of the paper's ablation.

    ``stem(frame) · (1 + strength · tanh(mean of the PA maps))``. The paper leaves the form open.
    In this one what stands still keeps its features, so that RGB weights can be loaded as they
    are; ``strength`` is learned.

    Args:
        net (nn.Conv2d): Takes the frame.
    """

    def __init__(self, net: nn.Conv2d) -> None:
        super().__init__()
        self.net = net
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and weigh.

        Args:
            x (Tensor): A frame and its PA maps, (N·T, in_channels + m − 1, H, W).

        Returns:
            Tensor: Shape (N·T, out_channels, h, w).
        """
        features = self.net(x[:, : self.net.in_channels])
        attention = x[:, self.net.in_channels :].mean(dim=1, keepdim=True)  # (N·T, 1, H, W)
        attention = F.avg_pool2d(attention, self.net.stride, ceil_mode=True)
        height, width = features.shape[2:]  # ⌈H / stride⌉, or ⌊H / stride⌋ without padding
        return features * (1 + self.strength * attention[..., :height, :width].tanh())


def replace_stem(module: nn.Module, in_channels: int, attention: bool = False) -> str:
    """Give the first convolution of ``module`` another number of input channels.

    It keeps its class, kernel, stride, padding and bias; its filters start at random.

    Args:
        module (nn.Module): A 2D backbone whose first ``nn.Conv2d`` takes RGB frames.
        in_channels (int): Channels that it shall take.
        attention (bool): Whether PA maps come behind these channels, to weigh its features.

    Returns:
        str: Name of the convolution in ``module``.

    Raises:
        ValueError: If the first convolution does not take RGB frames, or not all of them.
    """
    convs = [(name, m) for name, m in module.named_modules() if isinstance(m, nn.Conv2d)]
    name, old = convs[0] if convs else ('', None)
    if old is None or old.in_channels != 3 or old.groups != 1:
        raise ValueError(
            f'{type(module).__name__} does not begin with a convolution of 3-channel frames, so '
            f'it cannot take {in_channels} channels'
        )
    block, _, _ = name.partition('.')
    branches = [n for n, m in convs if m.in_channels == 3 and n.partition('.')[0] == block]
    if len(branches) > 1:
        raise ValueError(
            f'{type(module).__name__} takes the frames in {len(branches)} convolutions '
            f'({", ".join(branches)}); PANBackbone changes the channels of a single one'
        )
    if in_channels != 3:
        new = copy.deepcopy(old)
        new.in_channels = in_channels
        new.weight = nn.Parameter(
            old.weight.new_empty(old.out_channels, in_channels, *old.kernel_size)
        )
        nn.init.kaiming_normal_(new.weight, mode='fan_out', nonlinearity='relu')
        replace_submodule(module, name, new)
    if attention:
        replace_submodule(module, name, PAAttention(old))
        name += '.net'
    return name
