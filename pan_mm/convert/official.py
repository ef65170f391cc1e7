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
from collections import OrderedDict
from pathlib import Path
from typing import Optional, Union

import torch
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope

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
# (has PA, channels of the first convolution) of the streams.
STREAMS = {(False, 3): 'rgb', (True, CLIP_LEN - 1): 'pa', (True, CLIP_LEN + 2): 'lite'}


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
    parts = ('base_model.conv1', 'base_model.fc.TES.0', 'base_model.fc.pred')
    shapes: list = [getattr(state.get(f'{part}.weight'), 'shape', ()) for part in parts]
    if list(map(len, shapes)) != [4, 2, 2]:
        raise CheckpointError(
            f'not a PAN checkpoint of the authors, which has weights of {", ".join(parts)}'
        )
    (_, channels, *_), (_, vectors), (num_classes, _) = shapes
    blocks = {tuple(key.split('.')[1:3]) for key in state if key.startswith('base_model.layer')}
    layers = [layer for layer, _ in blocks]
    sizes = tuple(layers.count(f'layer{i}') for i in (1, 2, 3, 4))
    has_pa = 'PA.shallow_conv.weight' in state
    bottleneck = 'base_model.layer1.0.conv3.weight' in state
    if (has_pa, channels) not in STREAMS or (bottleneck, sizes) not in DEPTHS:
        raise CheckpointError(
            f'no PAN on a ResNet-18, 34, 50, 101 or 152: its first convolution takes {channels} '
            f'channels {"with" if has_pa else "without"} PA, its layers have {sizes} '
            f'{"bottleneck" if bottleneck else "basic"} blocks'
        )
    return dict(
        stream=STREAMS[has_pa, channels],
        depth=DEPTHS[bottleneck, sizes],
        num_segments=vectors + 1,  # VAP weighs T − 1 vectors
        clip_len=CLIP_LEN,
        num_classes=num_classes,
    )


def _without_wrapper(state_dict):
    """Take away the prefix of nn.DataParallel."""
    return {str(key).removeprefix('module.'): value for key, value in state_dict.items()}


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


def convert_official_state_dict(state_dict: dict, label_order: Optional[str] = None) -> OrderedDict:
    """Convert the authors' weights into the state dict of a recognizer of this project.

    Args:
        state_dict (dict): ``state_dict`` of a file of the authors, of any stream and ResNet.
        label_order (str, optional): 'sthv1' or 'jester' for weights on these datasets: the
            classifier's rows, which are in the order of the sorted names, are permuted to that
            of MMAction2's annotations. Defaults to None, which keeps the rows: right for
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
    with DefaultScope.overwrite_default_scope('mmaction'), torch.device('meta'):
        model = MODELS.build(model_config(**architecture))
    own = {official_name(name): name for name in model.state_dict()}
    try:
        model.load_state_dict(
            {own.get(name, name): value.clone() for name, value in official.items()}, assign=True
        )
    except RuntimeError as error:
        raise CheckpointError(f'not the tensors of a PAN of {architecture}: {error}') from error
    converted = model.state_dict()
    for name, value in converted.items():
        if name.endswith('num_batches_tracked'):
            converted[name] = value.long()
    if label_order is not None:
        rows = label_permutation(class_names(label_order))
        if len(rows) != architecture['num_classes']:
            raise ValueError(
                f'label order {label_order} has {len(rows)} classes, the checkpoint '
                f'{architecture["num_classes"]}'
            )
        for name in ('cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'):
            converted[name] = converted[name][rows]
    return converted


def convert_official_checkpoint(
    src: Union[str, Path], dst: Union[str, Path], label_order: Optional[str] = None
) -> dict:
    """Convert a file of the authors (``.pth.tar``) into a checkpoint of this project.

    Args:
        src (str | Path): The authors' file; no code in it is run.
        dst (str | Path): The checkpoint to write; replaced once the conversion has succeeded.
        label_order (str, optional): See :func:`convert_official_state_dict`.

    Returns:
        dict: ``meta`` of the checkpoint: the architecture as in :func:`read_architecture`,
        ``label_order``, ``source_sha256``, ``source_epoch`` and ``pan_mm_version``.

    Raises:
        CheckpointError: If the file is damaged, would run code, or holds no PAN of the authors.
        ValueError: If ``label_order`` does not fit.
        OSError: If a file cannot be read or written.
    """
    checkpoint = load_checkpoint_file(src)
    state_dict = weights_of(checkpoint, str(src))
    meta = dict(
        **read_architecture(state_dict),
        label_order=label_order,
        source_sha256=hashlib.sha256(Path(src).read_bytes()).hexdigest(),
        source_epoch=checkpoint.get('epoch'),
        pan_mm_version=__version__,
    )
    converted = convert_official_state_dict(state_dict, label_order)
    with atomic_write(dst) as part:
        torch.save(dict(meta=meta, state_dict=converted), part)
    return meta
