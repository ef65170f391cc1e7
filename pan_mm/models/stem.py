"""The first convolution of a 2D backbone, changed to the channels of a PAN stream."""

import copy

from torch import nn

from pan_mm.utils.modules import replace_submodule


def replace_stem(module: nn.Module, in_channels: int) -> str:
    """Give the first convolution of ``module`` another number of input channels.

    It keeps its class, kernel, stride, padding and bias; its filters start at random.

    Args:
        module (nn.Module): A 2D backbone whose first ``nn.Conv2d`` takes RGB frames.
        in_channels (int): Channels that it shall take.

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
    return name
