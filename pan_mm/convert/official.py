"""Checkpoints of the authors' PAN-PyTorch into checkpoints of this project.

==================================== ==============================================
the authors                          here
==================================== ==============================================
``PA.shallow_conv.weight``           ``backbone.persistence.conv.weight``
``PA.shallow_conv.bias``             dropped: it cancels in the feature difference
``base_model.conv1.weight``          ``backbone.backbone.conv1.conv.weight``
``base_model.bn1.*``                 ``backbone.backbone.conv1.bn.*``
``base_model.layer1.0.conv1.net.*``  ``backbone.backbone.layer1.0.conv1.conv.net.*``
``base_model.fc.TES.{0,2}.weight``   ``cls_head.aggregation.excitation.{0,2}.weight``
``base_model.fc.pred.*``             ``cls_head.fc_cls.*``
==================================== ==============================================
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import torch
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import Tensor

from pan_mm.models.weight_layouts import torchvision_name
from pan_mm.utils.checkpoint import load_checkpoint_file, weights_of
from pan_mm.utils.errors import CheckpointError
from pan_mm.utils.files import atomic_write
from pan_mm.version import __version__

from .labels import class_names, label_permutation

# (bottleneck blocks, blocks of each layer) of the ResNets.
DEPTHS: dict[tuple, int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
CLIP_LEN = 4  # in all the authors' models; PA's filters do not depend on it


def _without_wrapper(state_dict: dict) -> dict:
    """Take away the prefix of nn.DataParallel."""
    state = {str(key).removeprefix('module.'): value for key, value in state_dict.items()}
    needed = {
        'base_model.conv1.weight': 4,
        'base_model.fc.TES.0.weight': 2,
        'base_model.fc.pred.weight': 2,
    }
    missing = [key for key, ndim in needed.items() if getattr(state.get(key), 'ndim', 0) != ndim]
    if missing:
        raise CheckpointError(
            f'not a PAN checkpoint of the authors: it lacks {", ".join(missing)} and has '
            f'{_some(state)}'
        )
    return state


def read_architecture(state_dict: dict) -> dict:
    """Read the architecture of the authors' model off its tensors.

    Args:
        state_dict (dict): ``state_dict`` of a file of the authors.

    Returns:
        dict: ``stream`` ('rgb', 'pa', 'lite'), ``depth`` of the ResNet, ``num_segments``,
        ``clip_len`` and ``num_classes``.

    Raises:
        CheckpointError: If these are not the tensors of a PAN.
    """
    state = _without_wrapper(state_dict)
    channels = state['base_model.conv1.weight'].shape[1]
    has_pa = 'PA.shallow_conv.weight' in state
    streams = {(False, 3): 'rgb', (True, CLIP_LEN - 1): 'pa', (True, CLIP_LEN + 2): 'lite'}
    if (has_pa, channels) not in streams:
        raise CheckpointError(
            f'no stream of PAN: the first convolution takes {channels} channels '
            f'{"with" if has_pa else "without"} PA; RGB takes 3 without, PA 3 and Lite 6 with it'
        )
    blocks = {tuple(key.split('.')[1:3]) for key in state if key.startswith('base_model.layer')}
    layers = [layer for layer, _ in blocks]
    sizes = tuple(layers.count(f'layer{i}') for i in (1, 2, 3, 4))
    bottleneck = 'base_model.layer1.0.conv3.weight' in state
    if (bottleneck, sizes) not in DEPTHS:
        raise CheckpointError(
            f'no ResNet-18, 34, 50, 101 or 152: its layers have {sizes} '
            f'{"bottleneck" if bottleneck else "basic"} blocks'
        )
    vectors = state['base_model.fc.TES.0.weight'].shape[-1]
    return dict(
        stream=streams[has_pa, channels],
        depth=DEPTHS[bottleneck, sizes],
        num_segments=vectors + 1,  # VAP weighs T − 1 vectors
        clip_len=CLIP_LEN,
        num_classes=state['base_model.fc.pred.weight'].shape[0],
    )


def model_config(
    stream: str, depth: int, num_segments: int, num_classes: int, clip_len: int = CLIP_LEN
) -> dict:
    """Make the config of the recognizer that the authors' weights of this architecture fit."""
    return dict(
        type='Recognizer2D',
        backbone=dict(
            type='PANBackbone',
            stream=stream,
            num_segments=num_segments,
            clip_len=clip_len,
            backbone=dict(type='ResNetTSM', depth=depth, shift_div=8, pretrained=None),
        ),
        cls_head=dict(
            type='VAPHead',
            num_classes=num_classes,
            in_channels=512 if depth < 50 else 2048,
            num_segments=num_segments,
            average_clips='score',
        ),
        data_preprocessor=dict(
            type='ActionDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
        ),
    )


def official_name(name: str) -> str:
    """Return the authors' name of a parameter or buffer of a recognizer of :func:`model_config`."""
    if name.startswith('backbone.backbone.'):
        name = 'base_model.' + name[len('backbone.backbone.') :]
        if '.net.' in name:  # keep the mark: which blocks are shifted must match
            return torchvision_name(name).replace('.conv1.', '.conv1.net.')
        return torchvision_name(name)
    name = name.replace('backbone.persistence.conv.', 'PA.shallow_conv.')
    name = name.replace('cls_head.aggregation.excitation.', 'base_model.fc.TES.')
    return name.replace('cls_head.fc_cls.', 'base_model.fc.pred.')


def convert_official_state_dict(
    state_dict: dict, label_order: Union[str, Sequence, None] = None
) -> OrderedDict:
    """Convert the authors' weights into the state dict of a recognizer of this project.

    Args:
        state_dict (dict): ``state_dict`` of a file of the authors, of any stream and ResNet.
        label_order (str | Sequence[str], optional): 'sthv1', 'jester', or class names in the
            order in which your annotations number them: the classifier's rows, which are in
            the order of the sorted names, are permuted to it. Right for weights on
            Something-Something V1 and Jester. Defaults to None, which keeps the rows: right for
            Something-Something V2.

    Returns:
        OrderedDict[str, Tensor]: Loads strictly into
        ``MODELS.build(model_config(**read_architecture(state_dict)))``.

    Raises:
        CheckpointError: If these are not the tensors of a PAN.
        ValueError: If ``label_order`` is unknown or has another number of classes.
    """
    architecture = read_architecture(state_dict)
    official = _without_wrapper(state_dict)
    official.pop('PA.shallow_conv.bias', None)
    try:
        with DefaultScope.overwrite_default_scope('mmaction'), torch.device('meta'):
            wanted = MODELS.build(model_config(**architecture)).state_dict()
    except ValueError as error:
        raise CheckpointError(f'no PAN that can be built: {error}') from error
    source = {name: official_name(name) for name in wanted}
    lacking, left_over = {*source.values()} - {*official}, {*official} - {*source.values()}
    if lacking or left_over:
        raise CheckpointError(
            f'not the tensors of a {_spell(architecture)}: it lacks {_some(lacking)} and has '
            f'{_some(left_over)}'
        )
    converted = OrderedDict()
    for name, like in wanted.items():
        value = official[source[name]]
        if like.ndim == 0 and getattr(value, 'shape', None) == (1,):
            value = value[0]  # PyTorch also accepts a counter with one element
        if not isinstance(value, Tensor) or value.shape != like.shape:
            raise CheckpointError(
                f'{source[name]} is {tuple(getattr(value, "shape", ()))}, but a '
                f'{_spell(architecture)} has {tuple(like.shape)}'
            )
        converted[name] = value.detach().to(like.dtype).clone()
    if label_order is not None:
        names = class_names(label_order) if isinstance(label_order, str) else label_order
        if len(names) != architecture['num_classes']:
            raise ValueError(
                f'label order {label_order if isinstance(label_order, str) else ""} has '
                f'{len(names)} classes, the checkpoint {architecture["num_classes"]}'
            )
        rows = label_permutation(names)
        for name in ('cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'):
            converted[name] = converted[name][rows]
    return converted


def _spell(architecture):
    return (
        f'PAN stream {architecture["stream"]!r} on ResNet-{architecture["depth"]} with '
        f'{architecture["num_segments"]} segments'
    )


def _some(names):
    return f'{len(names)} ({", ".join(sorted(names)[:3])}{", …" if len(names) > 3 else ""})'


def convert_official_checkpoint(
    src: Union[str, Path], dst: Union[str, Path], label_order: Union[str, Sequence, None] = None
) -> dict:
    """Convert a file of the authors (``.pth.tar``) into a checkpoint of this project.

    The file is read without running code from it. ``dst`` is replaced if it exists, and only
    once the conversion has succeeded.

    Args:
        src (str | Path): The authors' file.
        dst (str | Path): The checkpoint to write, for tools/test.py, ``init_recognizer`` and the
            like.
        label_order (str | Sequence[str], optional): See :func:`convert_official_state_dict`.

    Returns:
        dict: ``meta`` of the checkpoint: the architecture as in :func:`read_architecture`,
        ``label_order``, ``source_sha256``, ``source_epoch`` and ``pan_mm_version``.

    Raises:
        CheckpointError: If the file is damaged, would run code, or holds no PAN of the authors.
        ValueError: If ``label_order`` does not fit, or ``src`` is ``dst``.
        OSError: If a file cannot be read or written.
    """
    if os.path.exists(dst) and os.path.samefile(src, dst):
        raise ValueError(f'{dst} is the source itself; name another file to write')
    checkpoint = load_checkpoint_file(src)
    state_dict = weights_of(checkpoint, str(src))
    converted = convert_official_state_dict(state_dict, label_order)
    epoch = checkpoint.get('epoch')
    meta = dict(
        **read_architecture(state_dict),
        label_order=label_order if label_order is None or isinstance(label_order, str) else 'own',
        source_sha256=hashlib.sha256(Path(src).read_bytes()).hexdigest(),
        source_epoch=epoch if isinstance(epoch, int) else None,
        pan_mm_version=__version__,
    )
    with atomic_write(dst) as part:
        torch.save(dict(meta=meta, state_dict=converted), part)
    return meta
