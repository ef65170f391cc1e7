"""A recognizer made quick for inference, its predictions kept."""

from collections.abc import Sequence

import torch
from mmaction.models import Recognizer3D
from mmaction.models.backbones.resnet_tsm import TemporalShift
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from pan_mm.models.memory_format import backbones, to_channels_last
from pan_mm.models.streams import recognizers_of

EXTRAS = ('half', 'compile')


def optimize(model: nn.Module, extras: Sequence[str] = ()) -> nn.Module:
    """Make a recognizer quick for inference, in place. It cannot be trained afterwards.

    Always: norms are folded into the convolutions before them, tensors are laid out
    channels-last, and temporal shift copies its input once instead of four times. The arithmetic
    stays float32, so probabilities stay the same within 1e-4.

    Args:
        model (nn.Module): A recognizer of MMAction2, or a ``PANEnsemble``, on its device.
        extras (Sequence[str]): 'half' runs the backbones (PA, heads and scores not) in float16 on
            a GPU, in bfloat16 on a processor; probabilities then differ by up to 0.02.
            'compile' applies ``torch.compile`` to the backbones: the first batch of each shape
            takes minutes.

    Returns:
        nn.Module: The same model, in evaluation mode.

    Raises:
        ValueError: If an extra is unknown.
    """
    if unknown := set(extras) - set(EXTRAS):
        raise ValueError(f'optimize knows {", ".join(EXTRAS)}, got {", ".join(sorted(unknown))}')
    model.eval().requires_grad_(False)
    device = next(model.parameters()).device
    for recognizer in recognizers_of(model).values():
        fold_norms(recognizer.backbone, _clip_of(recognizer))
    for module in model.modules():
        if type(module) is TemporalShift:
            module.shift = shift_once
    for backbone in backbones(model):
        if 'half' in extras:
            _compute_in(backbone, torch.bfloat16 if device.type == 'cpu' else torch.float16)
        to_channels_last(backbone)
        if 'compile' in extras:
            backbone.compile(dynamic=False)  # symbolic shapes take far longer to compile
    return model


@torch.no_grad()
def fold_norms(backbone: nn.Module, clip: Tensor) -> None:
    """Fold the batch norms that take what a convolution gives, whatever module holds the two.

    A clip that runs through the backbone shows which norm follows which convolution.
    """
    outputs: list = []
    pairs: list = []

    def note_output(conv, args, output):
        outputs.append((output, conv))

    def find_conv(norm, args):
        pairs.extend((conv, norm) for output, conv in outputs if output is args[0])

    handles = []
    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            handles.append(module.register_forward_hook(note_output))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            handles.append(module.register_forward_pre_hook(find_conv))
    backbone(clip)
    for handle in handles:
        handle.remove()
    names = {module: name for name, module in backbone.named_modules()}
    convs = [conv for _, conv in outputs]
    for conv, norm in pairs:
        if convs.count(conv) == 1:
            backbone.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
            # timm's norms contain the activation that follows them.
            backbone.set_submodule(names[norm], getattr(norm, 'act', nn.Identity()))


def _clip_of(recognizer: nn.Module) -> Tensor:
    """Make an input of a recognizer's backbone, of zeros."""
    weight = next(recognizer.parameters())
    if isinstance(recognizer, Recognizer3D):
        return weight.new_zeros(1, 3, 32, 64, 64)
    backbone = recognizer.backbone
    frames = getattr(backbone, 'num_segments', 8) * getattr(backbone, 'clip_len', 1)
    return weight.new_zeros(frames, 3, 64, 64)


def shift_once(x: Tensor, num_segments: int, shift_div: int = 3) -> Tensor:
    """``TemporalShift.shift`` of (N·T, C, H, W) with one copy, in the memory format of ``x``."""
    shifted = torch.empty_like(x)
    source, target = (t.unflatten(0, (-1, num_segments)) for t in (x, shifted))  # (N, T, C, H, W)
    fold = x.shape[1] // shift_div
    target[:, :-1, :fold] = source[:, 1:, :fold]
    target[:, -1, :fold] = 0
    target[:, 1:, fold : 2 * fold] = source[:, :-1, fold : 2 * fold]
    target[:, 0, fold : 2 * fold] = 0
    target[:, :, 2 * fold :] = source[:, :, 2 * fold :]
    return shifted


def _compute_in(backbone, dtype):
    """Let a backbone compute in ``dtype``, and take and give float32."""
    backbone.to(dtype)
    backbone.register_forward_pre_hook(lambda module, args: tuple(x.to(dtype) for x in args))
    backbone.register_forward_hook(lambda module, args, output: _float(output))


def _float(output):
    if isinstance(output, (tuple, list)):  # the pathways of SlowFast
        return type(output)(_float(item) for item in output)
    return output.float()
