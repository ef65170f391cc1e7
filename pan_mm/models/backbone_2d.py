"""2D backbones by name: MMAction2's own, timm's, torchvision's and mmpretrain's.

Names are those that MMAction2's ``Recognizer2D`` takes: ``ResNetTSM``, ``timm.NAME``,
``torchvision.NAME``, ``mmpretrain.NAME``; a slash may replace the dot. The one network of this
package is ``pan_mm.EfficientNetLite0``.
"""

import copy
import functools
import importlib
import inspect
import itertools
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Optional

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from .efficientnet_lite import EfficientNetLite0
from .temporal_shift import insert_shift

HEADS = ('avgpool', 'classifier', 'fc', 'head', 'heads')  # where torchvision's networks pool


def build_backbone(cfg: dict, num_segments: int) -> tuple:
    """Build a 2D backbone; nothing is loaded yet.

    Args:
        cfg (dict): ``type`` and arguments of the network. One of another library than MMAction2
            gets temporal shift (:func:`pan_mm.models.temporal_shift.insert_shift`) with
            ``shift_div`` (8), or none with ``is_shift=False``. ``pretrained`` is a path or an
            address; with ``True``, or torchvision's ``weights``, the library fetches its own.
        num_segments (int): T, for the temporal shift.

    Returns:
        tuple: The network, (N·T, 3, H, W) → (N·T, C, h, w), and what
        :func:`pan_mm.models.weight_layouts.load_pretrained` shall load into it, or None.

    Raises:
        ImportError: If the library is missing.
        ValueError: If ``num_segments`` is another in ``cfg``, the network does not turn frames of
            any size into feature maps, or no rule says where its temporal shift goes.
    """
    cfg = dict(cfg)
    library, name = split_type(cfg['type'])
    pretrained = cfg.pop('pretrained', None)
    if pretrained is True and library not in ('timm', 'torchvision'):
        raise ValueError(
            f'{name} has no weights of its own for pretrained=True; give a path or an address'
        )
    if not library:
        return _from_registry(cfg, num_segments), pretrained
    del cfg['type']
    shift_div, is_shift = cfg.pop('shift_div', 8), cfg.pop('is_shift', True)
    module, own_weights = _BUILDERS[library](name, cfg, pretrained is True)
    if library != 'pan_mm':  # the check imports PyTorch's compiler
        _check_maps(module, f'{library}.{name}')
    if is_shift:
        insert_shift(module, num_segments, shift_div)
    return module, own_weights or pretrained


def split_type(kind: Any) -> tuple:
    """Split a config's ``type`` into library and name; the library is '' for MMAction2's own."""
    if callable(kind):
        return '', kind
    library, _, name = kind.replace('/', '.', 1).partition('.')
    return (library, name) if library in _BUILDERS else ('', kind)


def pixel_statistics(kind: Any) -> Optional[tuple]:
    """Mean and standard deviation, of pixels 0 to 255, that a network's weights were trained with.

    Of the three RGB channels each; None where the library does not say.
    """
    library, name = split_type(kind)
    if library == 'pan_mm':
        return list(EfficientNetLite0.mean), list(EfficientNetLite0.std)
    if library == 'timm':
        own = importlib.import_module('timm').get_pretrained_cfg(name)
    elif library == 'torchvision':
        models = importlib.import_module('torchvision.models')
        own = models.get_model_weights(name).DEFAULT.transforms()
    else:
        own = None
    return own and tuple([255 * value for value in values] for values in (own.mean, own.std))


def is_classification(kind: str) -> bool:
    """Tell whether a network is for pictures' classes, as all are but some of torchvision's."""
    library, name = split_type(kind)
    if library != 'torchvision':
        return True
    models = importlib.import_module('torchvision.models')
    return name in models.list_models(module=models)


def same_statistics(one: Iterable[float], other: Iterable[float]) -> bool:
    """Compare means or standard deviations except for rounding (127 and 127.5)."""
    one, other = list(one), list(other)
    return len(one) == len(other) and all(abs(a - b) <= 1 for a, b in zip(one, other))


def replace_stem(module: nn.Module, in_channels: int) -> str:
    """Give the first convolution of ``module`` another number of input channels.

    It keeps its class, kernel, stride, padding and bias; its filters start at random.

    Args:
        module (nn.Module): A 2D backbone whose first ``nn.Conv2d`` takes RGB frames.
        in_channels (int): Channels that it shall take.

    Returns:
        str: Name of the convolution in ``module``.

    Raises:
        ValueError: If the first convolution does not take RGB frames.
    """
    convs = ((name, m) for name, m in module.named_modules() if isinstance(m, nn.Conv2d))
    name, old = next(convs, ('', None))
    if old is None or old.in_channels != 3 or old.groups != 1:
        raise ValueError(
            f'{type(module).__name__} does not begin with a convolution of 3-channel frames, so '
            f'it cannot take {in_channels} channels'
        )
    if in_channels != 3:
        new = copy.deepcopy(old)
        new.in_channels = in_channels
        shape = (old.out_channels, in_channels, *old.kernel_size)
        new.weight = nn.Parameter(old.weight.new_empty(shape))
        nn.init.kaiming_normal_(new.weight, mode='fan_out', nonlinearity='relu')
        module.set_submodule(name, new)
    return name


def _from_registry(cfg, num_segments):
    cls = cfg['type'] if inspect.isclass(cfg['type']) else MODELS.get(cfg['type'])
    arguments = inspect.signature(cls).parameters if cls else {}
    if 'num_segments' in arguments:
        given = cfg.setdefault('num_segments', num_segments)
        if given != num_segments:
            raise ValueError(
                f'the 2D backbone has num_segments={given}, PANBackbone {num_segments}; '
                'set it only on PANBackbone'
            )
    if 'pretrained2d' in arguments:
        cfg['pretrained2d'] = False
    return MODELS.build(cfg)


def _from_pan_mm(name, cfg, own):
    if name != 'EfficientNetLite0':
        raise ValueError(f'pan_mm has one network, EfficientNetLite0, not {name!r}')
    return EfficientNetLite0(**cfg), None


def _from_timm(name, cfg, own):
    timm = importlib.import_module('timm')
    create = functools.partial(timm.create_model, name, num_classes=0, global_pool='', **cfg)
    return create(), functools.partial(_timm_weights, create) if own else None


def _timm_weights(create):
    return create(pretrained=True).state_dict()


def _from_torchvision(name, cfg, own):
    models = importlib.import_module('torchvision.models')
    weights = cfg.pop('weights', 'DEFAULT' if own else None)
    # Others fetch weights of the network inside when they are built.
    if not is_classification(f'torchvision.{name}'):
        raise ValueError(f'torchvision has no network {name!r} that classifies pictures')
    children = models.get_model(name, weights=None, **cfg).named_children()
    layers = itertools.takewhile(lambda child: child[0] not in HEADS, children)
    module = nn.Sequential(OrderedDict(layers))
    return module, functools.partial(_torchvision_weights, name, weights) if weights else None


def _torchvision_weights(name, weights):
    models = importlib.import_module('torchvision.models')
    return models.get_model_weights(name)[weights].get_state_dict()


def _from_mmpretrain(name, cfg, own):
    importlib.import_module('mmpretrain.models')
    module = MODELS.build(dict(cfg, type=f'mmpretrain.{name}'))
    module.register_forward_hook(_last_stage)
    return module, None


def _last_stage(module, args, output):
    return output[-1] if isinstance(output, (tuple, list)) else output


_BUILDERS = dict(
    pan_mm=_from_pan_mm,
    timm=_from_timm,
    torchvision=_from_torchvision,
    mmpretrain=_from_mmpretrain,
)


@torch.no_grad()
def _check_maps(module: nn.Module, name: str) -> None:
    """Refuse, from shapes only, what does not turn (N, 3, H, W) into (N, C, h, w)."""
    twin = copy.deepcopy(module).to('meta').eval()
    try:
        maps = twin(torch.empty(1, 3, 224, 448, device='meta'))
    except Exception as error:  # whatever a network of another kind raises
        raise ValueError(f'{name} does not take frames of any size: {error}') from error
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[3] != 2 * maps.shape[2]:
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(
            f'{name} is not a 2D feature extractor: of frames (1, 3, 224, 448) it makes {shape} '
            'instead of maps (1, C, h, 2 h)'
        )
