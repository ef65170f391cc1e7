"""Temporal shift of TSM (arXiv 1811.08383) in the networks of other libraries."""

from typing import NamedTuple, Optional

from mmaction.models.backbones.resnet_tsm import TemporalShift
from torch import nn

from pan_mm.utils.modules import replace_submodule


class ShiftRule(NamedTuple):
    """Rule for the shift of a kind of residual block.

    Attributes:
        layers (tuple[str]): Candidates for the block's first layer; the first that exists is
            shifted.
        shortcut (str, optional): Attribute that says whether the block has an identity shortcut;
            without one it is not shifted. None: each block is, as TSM does in ResNet.
    """

    layers: tuple
    shortcut: Optional[str] = None


_RESNET = ShiftRule(('conv1',))
_TIMM = {
    layer: ShiftRule((layer,), 'has_skip') for layer in ('conv', 'conv_exp', 'conv_dw', 'conv_pw')
}
_TORCHVISION = ShiftRule(('block.0',), 'use_res_connect')

# Block class → rule. A subclass has the rule of its base.
RULES = {
    # ResNet, ResNeXt, SE- and ECA-ResNet, RegNet
    'timm.models.resnet.BasicBlock': _RESNET,
    'timm.models.resnet.Bottleneck': _RESNET,
    'timm.models.regnet.Bottleneck': _RESNET,
    'torchvision.models.resnet.BasicBlock': _RESNET,
    'torchvision.models.resnet.Bottleneck': _RESNET,
    'torchvision.models.regnet.ResBottleneckBlock': ShiftRule(('f.a',)),
    'mmpretrain.models.backbones.resnet.BasicBlock': _RESNET,
    'mmpretrain.models.backbones.resnet.Bottleneck': _RESNET,
    # MobileNetV2, V3, V4, MNASNet, EfficientNet, EfficientNet-Lite, EfficientNetV2
    'timm.models._efficientnet_blocks.ConvBnAct': _TIMM['conv'],
    'timm.models._efficientnet_blocks.EdgeResidual': _TIMM['conv_exp'],
    'timm.models._efficientnet_blocks.DepthwiseSeparableConv': _TIMM['conv_dw'],
    'timm.models._efficientnet_blocks.InvertedResidual': _TIMM['conv_pw'],
    'pan_mm.models.efficientnet_lite.DepthwiseSeparableConv': _TIMM['conv_dw'],
    'pan_mm.models.efficientnet_lite.InvertedResidual': _TIMM['conv_pw'],
    'timm.models._efficientnet_blocks.UniversalInvertedResidual': ShiftRule(
        ('dw_start', 'pw_exp'), 'has_skip'
    ),
    'torchvision.models.mobilenetv2.InvertedResidual': ShiftRule(('conv.0',), 'use_res_connect'),
    'torchvision.models.mobilenetv3.InvertedResidual': _TORCHVISION,
    'torchvision.models.efficientnet.MBConv': _TORCHVISION,
    'torchvision.models.efficientnet.FusedMBConv': _TORCHVISION,
    'mmpretrain.models.backbones.mobilenet_v2.InvertedResidual': ShiftRule(
        ('conv.0',), 'use_res_connect'
    ),
    'mmpretrain.models.utils.inverted_residual.InvertedResidual': ShiftRule(
        ('expand_conv', 'depthwise_conv'), 'with_res_shortcut'
    ),
    'mmpretrain.models.backbones.efficientnet.EdgeResidual': ShiftRule(
        ('conv1',), 'with_res_shortcut'
    ),
    # ConvNeXt
    'timm.models.convnext.ConvNeXtBlock': ShiftRule(('conv_dw',)),
    'torchvision.models.convnext.CNBlock': ShiftRule(('block.0',)),
    'mmpretrain.models.backbones.convnext.ConvNeXtBlock': ShiftRule(('depthwise_conv',)),
}


def find_stages(module: nn.Module) -> dict:
    """Blocks that ``RULES`` names, with their rules, by the module that holds them, in order."""
    stages: dict = {}
    for name, block in module.named_modules():
        rule = next((RULES[n] for n in map(_full_name, type(block).__mro__) if n in RULES), None)
        if rule:
            stages.setdefault(name.rpartition('.')[0], []).append((block, rule))
    return stages


def insert_shift(module: nn.Module, num_segments: int, shift_div: int = 8) -> None:
    """Shift features between segments at the start of the residual branches, in place.

    Where a stage has 23 blocks or more, as in ResNet-101, every second block of each stage is
    shifted, else every block. MMAction2's ``ResNetTSM`` and ``MobileNetV2TSM`` are shifted at
    the same places.

    Args:
        module (nn.Module): A 2D network with blocks that ``RULES`` names.
        num_segments (int): T, segments of a clip.
        shift_div (int): 1 / shift_div of the channels come from the segment before, and the same
            number from the next. Defaults to 8.

    Raises:
        ValueError: If there is no such block.
    """
    stages = find_stages(module)
    if not stages:
        raise ValueError(
            f'no rule says where the temporal shift of {type(module).__name__} goes; ResNet, '
            'RegNet, MobileNet, MNASNet, EfficientNet and ConvNeXt have one. Set is_shift=False '
            'to have none'
        )
    step = 2 if max(map(len, stages.values())) >= 23 else 1
    for blocks in stages.values():
        for block, (layers, shortcut) in blocks[::step]:
            if shortcut is None or getattr(block, shortcut):
                path = next(layer for layer in layers if _has(block, layer))
                shifted = TemporalShift(block.get_submodule(path), num_segments, shift_div)
                replace_submodule(block, path, shifted)


def _full_name(cls):
    return f'{cls.__module__}.{cls.__qualname__}'


def _has(block, path):
    found = dict(block.named_modules()).get(path)
    return found is not None and not isinstance(found, nn.Identity)
