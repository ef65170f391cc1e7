"""2D backbones by name: MMAction2's own, timm's, torchvision's and mmpretrain's.

Names are those that MMAction2's ``Recognizer2D`` takes: ``ResNetTSM``, ``timm.NAME``,
``torchvision.NAME``, ``mmpretrain.NAME``, ``mmcls.NAME``; a slash may replace the dot. The one
network of this package is ``pan_mm.EfficientNetLite0``.
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

from pan_mm.utils.errors import nearest

from .efficientnet_lite import EfficientNetLite0
from .temporal_shift import insert_shift

LIBRARIES = ('pan_mm', 'timm', 'torchvision', 'mmpretrain', 'mmcls')
OWN = {'EfficientNetLite0': EfficientNetLite0}


def build_backbone(cfg: dict, num_segments: int) -> tuple:
    """Build a 2D backbone; nothing is loaded yet.

    Args:
        cfg (dict): ``type`` and arguments of the network. One of another library than MMAction2
            gets temporal shift (:func:`pan_mm.models.temporal_shift.insert_shift`) with
            ``shift_div`` (8), or none with ``is_shift=False``.
            ``pretrained`` is a path or an address; with ``True``, or torchvision's ``weights``,
            the library fetches its own.
        num_segments (int): T, for the temporal shift.

    Returns:
        tuple: The network, (N·T, 3, H, W) → (N·T, C, h, w), and what
        :func:`pan_mm.models.pretrained.load_pretrained` shall load into it, or None.

    Raises:
        ImportError: If the library is missing.
        ValueError: If the name is unknown, ``num_segments`` is another in ``cfg``, the network does
            not turn frames of any size into feature maps, or no rule says where its temporal shift
            goes.
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
    shift = {key: cfg.pop(key) for key in ('shift_div',) if key in cfg}
    is_shift = cfg.pop('is_shift', True)
    module, own_weights = _BUILDERS[library](library, name, cfg, pretrained is True)
    if library != 'pan_mm':  # the check imports PyTorch's compiler
        _check_maps(module, f'{library}.{name}')
    if is_shift:
        insert_shift(module, num_segments, **shift)
    return module, own_weights or pretrained


def split_type(kind: Any) -> tuple:
    """Split a config's ``type`` into library and name; the library is '' for MMAction2's own."""
    if callable(kind):
        library, name = kind.__module__.partition('.')[0], kind.__name__
        return (library, name) if library == 'torchvision' else ('', kind)
    library, _, name = kind.replace('/', '.', 1).partition('.')
    return (library, name) if library in LIBRARIES else ('', kind)


def pixel_statistics(kind: Any) -> Optional[tuple]:
    """Mean and standard deviation, of pixels 0 to 255, that a network's weights were trained with.

    Args:
        kind: ``type`` of a 2D backbone in a config.

    Returns:
        tuple[list, list] | None: For the three RGB channels; None where the library does not say.
    """
    library, name = split_type(kind)
    if library == 'pan_mm':
        network = OWN[_known(library, name, OWN)]
        return list(network.mean), list(network.std)
    if library == 'timm':
        cfg = _timm_with(name).get_pretrained_cfg(name)
        if cfg is None:
            return None
        mean, std = cfg.mean, cfg.std
    elif library == 'torchvision':
        models = _import('torchvision.models')
        weights = models.get_model_weights(_known(library, name, models.list_models()))
        transforms = weights.DEFAULT.transforms()
        mean, std = transforms.mean, transforms.std
    else:
        return None
    return [255 * value for value in mean], [255 * value for value in std]


def is_classification(kind: str) -> bool:
    """Tell whether a network is for pictures' classes, as all are but some of torchvision's.

    Args:
        kind (str): ``type`` of a 2D backbone in a config.

    Raises:
        ImportError: If torchvision is needed and missing.
    """
    library, name = split_type(kind)
    if library != 'torchvision':
        return True
    models = _import('torchvision.models')
    return name in models.list_models(module=models)


def same_statistics(one: Iterable[float], other: Iterable[float]) -> bool:
    """Compare means or standard deviations except for rounding (127 and 127.5)."""
    one, other = list(one), list(other)
    return len(one) == len(other) and all(abs(a - b) <= 1 for a, b in zip(one, other))


def _from_registry(cfg, num_segments):
    cls = cfg['type'] if inspect.isclass(cfg['type']) else MODELS.get(cfg['type'])
    if cls is None:
        _known('MMAction2', cfg['type'], MODELS.module_dict)
    arguments = inspect.signature(cls).parameters
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


def _from_pan_mm(library, name, cfg, own):
    return OWN[_known(library, name, OWN)](**cfg), None


def _from_timm(library, name, cfg, own):
    create = functools.partial(
        _timm_with(name).create_model, name, num_classes=0, global_pool='', **cfg
    )
    return create(), functools.partial(_timm_weights, create) if own else None


def _timm_with(name):
    timm = _import('timm')
    if not timm.is_model(name):  # also knows the tags of weights, as in 'resnet18.a1_in1k'
        _known('timm', name, timm.list_models())
    return timm


def _timm_weights(create):
    return create(pretrained=True).state_dict()


def _from_torchvision(library, name, cfg, own):
    models = _import('torchvision.models')
    weights = cfg.pop('weights', 'DEFAULT' if own else None)
    weights = getattr(weights, 'name', weights)  # a member of an enum, which a config may hold
    known = models.get_model_weights(_known(library, name, models.list_models())).__members__
    if weights and weights not in known:
        raise ValueError(f'torchvision.{name} has no weights {weights!r}, only {", ".join(known)}')
    # Some builders fetch weights of the network inside unless they are told not to.
    fetched = {'weights', 'weights_backbone'}
    builder = inspect.signature(models.get_model_builder(name)).parameters
    network = models.get_model(name, **{**cfg, **dict.fromkeys(fetched & builder.keys())})
    module = _until_pooling(network)
    if module is None:
        raise ValueError(
            f'torchvision.{name} does not run its layers one after another up to a feature map; '
            'take such a network from timm'
        )
    return module, functools.partial(_torchvision_weights, name, weights) if weights else None


def _torchvision_weights(name, weights):
    return _import('torchvision.models').get_model_weights(name)[weights].get_state_dict()


@torch.no_grad()
def _until_pooling(network):
    """The layers of a torchvision network before pooling and classifier, if it runs them so."""
    heads = ('avgpool', 'classifier', 'fc', 'head', 'heads')
    children = itertools.takewhile(lambda child: child[0] not in heads, network.named_children())
    layers = nn.Sequential(OrderedDict(children))
    head = next((child for name, child in network.named_children() if name in heads), None)
    if head is None:
        return None
    seen: list = []
    handle = head.register_forward_pre_hook(lambda module, args: seen.extend(args))
    frames = torch.rand(1, 3, 64, 64)
    if frames.is_meta:  # built under torch.device('meta'): nothing to compare
        return layers
    try:
        network.eval()(frames)
        maps = layers(frames)
        wanted = maps if seen[0].ndim == 4 else maps.mean(dim=(2, 3))
        return layers.train() if torch.allclose(seen[0], wanted, atol=1e-5) else None
    except Exception:  # whatever another kind of network raises
        return None
    finally:
        handle.remove()


def _from_openmmlab(library, name, cfg, own):
    _import(f'{library}.models')
    known = importlib.import_module(f'{library}.registry').MODELS.module_dict
    module = MODELS.build(dict(cfg, type=f'{library}.{_known(library, name, known)}'))
    module.register_forward_hook(_last_stage)
    return module, None


def _last_stage(module, args, output):
    return output[-1] if isinstance(output, (tuple, list)) else output


_BUILDERS = {
    'pan_mm': _from_pan_mm,
    'timm': _from_timm,
    'torchvision': _from_torchvision,
    'mmpretrain': _from_openmmlab,
    'mmcls': _from_openmmlab,
}


def _import(module):
    package = module.partition('.')[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = ' (the extra [timm] of pan_mm)' if package in ('timm', 'torchvision') else ''
        raise ImportError(
            f'a backbone of {package} needs the package {package}{extra}: pip install {package} '
            f'({error})'
        ) from error


def _known(library: str, name: str, names: Iterable[str]) -> str:
    """``name`` if it is one of ``names``; the nearest three in the error if it is not."""
    names = list(names)
    if name in names:
        return name
    raise ValueError(f'{library} has no network {name!r}; {nearest(name, names)}')


def _check_maps(module: nn.Module, name: str) -> None:
    """Refuse, from shapes only, what does not turn (N, 3, H, W) into (N, C, h, w)."""
    with torch.no_grad():
        try:
            twin = copy.deepcopy(module).to('meta')
            twin.eval()  # OpenMMLab's return nothing
            maps = twin(torch.empty(1, 3, 224, 448, device='meta'))
        except Exception as error:
            raise ValueError(f'{name} does not take frames of any size: {error}') from error
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[3] != 2 * maps.shape[2]:
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(
            f'{name} is not a 2D feature extractor: of frames (1, 3, 224, 448) it makes {shape} '
            'instead of maps (1, C, h, 2 h)'
        )
