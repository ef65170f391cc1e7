"""2D weights of other layouts, on their way into the backbone inside a PAN."""

import re

from torch import Tensor, nn

from .pa_attention import PAAttentionConv2d


def torchvision_name(name: str) -> str:
    """Name that torchvision's ResNet has for a parameter of MMAction2's 2D backbones.

    MMAction2 groups convolution and norm in a ConvModule and wraps shifted layers.

    Example:
        >>> torchvision_name('layer1.0.conv1.conv.net.weight')
        'layer1.0.conv1.weight'
        >>> torchvision_name('layer1.0.downsample.bn.bias')
        'layer1.0.downsample.1.bias'
    """
    name = name.replace('.net.', '.').replace('.block.', '.')
    name = name.replace('downsample.conv.', 'downsample.0.')
    name = name.replace('downsample.bn.', 'downsample.1.')
    name = re.sub(r'\bconv(\d+)\.conv\.', r'conv\1.', name)
    return re.sub(r'\bconv(\d+)\.bn\.', r'bn\1.', name)


def accept_other_names(module: nn.Module) -> None:
    """Let ``module`` load parameters under their torchvision or unshifted (TSN) names as well."""
    module._register_load_state_dict_pre_hook(_rename, with_module=True)


def _rename(module, state_dict, prefix, *args):
    names = set(module.state_dict())
    own_name = {torchvision_name(name): name for name in names}
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key[len(prefix) :]
        target = own_name.get(torchvision_name(name))
        if name not in names and target is not None:
            state_dict[prefix + target] = state_dict.pop(key)


def shares_names(module: nn.Module, state_dict: dict) -> bool:
    """Whether a state dict holds any parameter of ``module``, under one of these names."""
    own = {torchvision_name(name) for name in module.state_dict()}
    return any(torchvision_name(name.removeprefix('module.')) in own for name in state_dict)


def inflate(weight: Tensor, in_channels: int) -> Tensor:
    """Filters of an RGB convolution, (K, 3, k, k), for another number of input channels.

    Each of the new channels gets the mean over the RGB channels (as TSN does for flow); three
    channels keep the weights as they are.
    """
    if in_channels == weight.shape[1]:
        return weight
    return weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)


def _inflate_loaded(module, state_dict, prefix, *args):
    weight = state_dict.get(prefix + 'weight')
    if weight is not None and weight.shape[1] == 3:
        state_dict[prefix + 'weight'] = inflate(weight, module.in_channels)


def replace_stem(module: nn.Module, in_channels: int, attention: bool = False) -> str:
    """Give the first convolution of ``module`` another number of input channels.

    The new convolution also loads RGB weights, inflated.

    Args:
        module (nn.Module): A 2D backbone whose first ``nn.Conv2d`` takes RGB frames.
        in_channels (int): Channels that it shall take.
        attention (bool): Whether PA maps come behind these channels, to weigh its features.

    Returns:
        str: Name of the convolution in ``module``.

    Raises:
        TypeError: If the first convolution is not the one that takes the RGB frames.
    """
    name, old = next(
        ((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d)), (None, None)
    )
    if old is None or old.in_channels != 3 or old.groups != 1:
        raise TypeError(
            f'{type(module).__name__} does not begin with a convolution of 3-channel frames, so '
            f'it cannot take {in_channels} channels'
        )
    if in_channels == 3 and not attention:
        return name
    new = (PAAttentionConv2d if attention else nn.Conv2d)(
        in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode='fan_out', nonlinearity='relu')
    new._register_load_state_dict_pre_hook(_inflate_loaded, with_module=True)
    parent, _, attribute = name.rpartition('.')
    setattr(module.get_submodule(parent), attribute, new)
    return name
