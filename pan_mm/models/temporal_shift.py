"""Temporal shift of TSM (arXiv 1811.08383) in the networks of other libraries."""

from mmaction.models.backbones.resnet_tsm import TemporalShift
from torch import nn

_RESNET = ('conv1',), None
_UNIVERSAL = ('dw_start', 'pw_exp'), 'has_skip'
_MMPRETRAIN = ('expand_conv', 'depthwise_conv'), 'with_res_shortcut'
_TORCHVISION = ('block.0',), 'use_res_connect'

# Class of a residual block → its first layer, and the attribute that says whether it has an
# identity shortcut: without one it is not shifted. None: each block is, as TSM does in ResNet.
# The first of its layers that exists is shifted. A subclass has the rule of its base.
RULES = {
    # ResNet, ResNeXt, SE- and ECA-ResNet, RegNet
    'timm.models.resnet.BasicBlock': _RESNET,
    'timm.models.resnet.Bottleneck': _RESNET,
    'timm.models.regnet.Bottleneck': _RESNET,
    'torchvision.models.resnet.BasicBlock': _RESNET,
    'torchvision.models.resnet.Bottleneck': _RESNET,
    'torchvision.models.regnet.ResBottleneckBlock': (('f.a',), None),
    'mmpretrain.models.backbones.resnet.BasicBlock': _RESNET,
    'mmpretrain.models.backbones.resnet.Bottleneck': _RESNET,
    # MobileNetV2, V3, V4, MNASNet, EfficientNet, EfficientNet-Lite, EfficientNetV2
    'timm.models._efficientnet_blocks.ConvBnAct': (('conv',), 'has_skip'),
    'timm.models._efficientnet_blocks.EdgeResidual': (('conv_exp',), 'has_skip'),
    'timm.models._efficientnet_blocks.DepthwiseSeparableConv': (('conv_dw',), 'has_skip'),
    'timm.models._efficientnet_blocks.InvertedResidual': (('conv_pw',), 'has_skip'),
    'timm.models._efficientnet_blocks.UniversalInvertedResidual': _UNIVERSAL,
    'pan_mm.models.efficientnet_lite.DepthwiseSeparableConv': (('conv_dw',), 'has_skip'),
    'pan_mm.models.efficientnet_lite.InvertedResidual': (('conv_pw',), 'has_skip'),
    'torchvision.models.mobilenetv2.InvertedResidual': (('conv.0',), 'use_res_connect'),
    'torchvision.models.mobilenetv3.InvertedResidual': _TORCHVISION,
    'torchvision.models.efficientnet.MBConv': _TORCHVISION,
    'torchvision.models.efficientnet.FusedMBConv': _TORCHVISION,
    'mmpretrain.models.backbones.mobilenet_v2.InvertedResidual': (('conv.0',), 'use_res_connect'),
    'mmpretrain.models.utils.inverted_residual.InvertedResidual': _MMPRETRAIN,
    'mmpretrain.models.backbones.efficientnet.EdgeResidual': (('conv1',), 'with_res_shortcut'),
    # ConvNeXt
    'timm.models.convnext.ConvNeXtBlock': (('conv_dw',), None),
    'torchvision.models.convnext.CNBlock': (('block.0',), None),
    'mmpretrain.models.backbones.convnext.ConvNeXtBlock': (('depthwise_conv',), None),
}


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
    stages: dict = {}  # blocks and their rules by the module that holds them
    for name, block in module.named_modules():
        names = [f'{cls.__module__}.{cls.__qualname__}' for cls in type(block).__mro__]
        if rule := next((RULES[each] for each in names if each in RULES), None):
            stages.setdefault(name.rpartition('.')[0], []).append((block, rule))
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
                block.set_submodule(path, shifted)


def _has(block, path):
    found = dict(block.named_modules()).get(path)
    return found is not None and not isinstance(found, nn.Identity)
