"""Models from the Hugging Face Hub, or from a folder in its form, read only as data.

A repository holds ``model.safetensors`` and ``config.json``: the model, and the test pipeline as
numbers. MMEngine builds whatever a config names, so a config is first held against :data:`PARTS`,
and what it describes against the shapes of the weights. No other file of it is fetched.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pan_mm.config.find import without
from pan_mm.config.overrides import arguments
from pan_mm.config.pipelines import VideoPipeline, kind_of
from pan_mm.models.pan_ensemble import stream_configs
from pan_mm.utils.errors import CheckpointError, PANError, shown
from pan_mm.utils.safetensors import read_shapes

PREFIX = 'hf://'
WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
CONFIG_BYTES = 2**20
# Bounds of what config.json describes: nesting, items of a dict or list, numbers, and the pixels
# of a clip (a clip of 32 frames at 2,048 x 2,048).
MOST_LEVELS, MOST_ITEMS, MOST, MOST_PIXELS = 10, 10_000, 100_000, 2**27
MOST_STREAMS = 16
STREAM_KEYS = {'backbone', 'cls_head', 'test_cfg', 'weight'}

_BACKBONES_2D = {
    *('ResNet', 'ResNetTSM', 'ResNetCausalTSM', 'TANet'),
    *('MobileNetV2', 'MobileNetV2TSM', 'MobileNetV2CausalTSM'),
}
_CUES = {'PersistenceOfAppearance', 'FrameDifference'}
# What may be built: for each key of a config the parts that may have it. Their arguments are those
# of the class; None is a dict without a type, of plain values.
PARTS: dict = {
    'model': {'Recognizer2D', 'PANEnsemble'},
    'backbone': {'PANBackbone', *_BACKBONES_2D},
    'backbone.backbone': _BACKBONES_2D,
    'motion_cue': _CUES,
    'persistence': _CUES,
    'cls_head': {'VAPHead', 'TSNHead', 'TSMHead'},
    'aggregation': {'VariousTimescaleAggregation', 'SegmentPooling'},
    'consensus': {'AvgConsensus'},
    'loss_cls': {'CrossEntropyLoss', 'BCELossWithLogits'},
    'data_preprocessor': {'ActionDataPreprocessor', 'PANDataPreprocessor'},
    'conv_cfg': {'Conv2d'},
    'norm_cfg': {'BN', 'BN2d', 'SyncBN'},
    'act_cfg': {'ReLU', 'ReLU6'},
    'tam_cfg': {None},
    'train_cfg': {None},
    'test_cfg': {None},
}
# Networks of other libraries in PANBackbone.
LIBRARY = re.compile(r'(pan_mm|timm|torchvision|mmpretrain|mmcls)[./][\w.]+')
LIBRARY_KEYS = {
    *('shift_div', 'causal', 'is_shift', 'pretrained'),
    *('drop_rate', 'drop_path_rate'),
}

SAMPLERS = {
    'PANSampleFrames': 'clip_len num_clips twice_sample',
    'SampleFrames': 'clip_len num_clips frame_interval twice_sample',
    'UniformSample': 'clip_len num_clips',
}
CROPS = ('CenterCrop', 'ThreeCrop', 'TenCrop')
FIXED = ('type', 'input_format', 'test_mode')  # which have one value


def is_hub(name: str) -> bool:
    """Tell whether a name is of a repository (``hf://OWNER/NAME``), or of a folder in its form."""
    return name.startswith(PREFIX) or any((Path(name) / f).is_file() for f in (WEIGHTS, CONFIG))


def open_hub(name: str) -> tuple:
    """Config and weights of a repository.

    Args:
        name (str): ``hf://OWNER/NAME``, with ``@`` and a branch, tag or commit where not the newest
            is wanted; or a folder.

    Returns:
        tuple[Config, Path]: The config, of ``model`` and ``test_pipeline``, and the weights.

    Raises:
        PANError: If it cannot be fetched, lacks a file, or its config is not plain data of known
            parts.
        CheckpointError: If the weights are damaged or do not fit the config.
        ImportError: If huggingface_hub is missing.
    """
    folder = _fetch(name[len(PREFIX) :]) if name.startswith(PREFIX) else Path(name)
    for file in (WEIGHTS, CONFIG):
        if not (folder / file).is_file():
            raise PANError(f'{name} has no {file}; it must hold {WEIGHTS} and {CONFIG}')
    if (folder / CONFIG).stat().st_size > CONFIG_BYTES:
        raise PANError(f'{name}: its {CONFIG} is larger than {CONFIG_BYTES:,} bytes')
    try:
        data = json.loads((folder / CONFIG).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise PANError(f'{name}: its {CONFIG} cannot be read ({error})') from error
    config = config_of(data, name)
    _check_shapes(config, folder / WEIGHTS)
    return config, folder / WEIGHTS


def _fetch(address: str) -> Path:
    hub = import_hub()
    repository, _, revision = address.partition('@')
    files = [WEIGHTS, CONFIG]
    try:
        found = hub.snapshot_download(repository, revision=revision or None, allow_patterns=files)
        return Path(found)
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise PANError(
            f'{PREFIX}{address} cannot be fetched ({str(error).splitlines()[0]}); check the name '
            'and the connection, or give a folder'
        ) from error


def import_hub() -> Any:
    """The package huggingface_hub.

    Raises:
        ImportError: If it is missing, with what to install.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            'models of the Hugging Face Hub need huggingface_hub (the extra [hub] of pan_mm): '
            'pip install huggingface_hub'
        ) from error
    return huggingface_hub


def plain_config(config: Config) -> dict:
    """Contents of ``config.json``: a config's model, without pretrained weights, and its pipeline.

    Raises:
        PANError: If they are not plain data of known parts.
    """
    # Another opener and decoder give the same frames; what they are told stays on this machine.
    fixed = dict(open='VideoInit', decode='VideoDecode')
    steps: list = VideoPipeline(config).transforms
    steps = [dict(type=fixed[k]) if (k := kind_of(step)) in fixed else step for step in steps]
    data = dict(model=config.model.to_dict(), test_pipeline=steps)
    data = json.loads(json.dumps(without(data, ('pretrained',)), default=str))
    source = config.filename or 'the config'
    data['test_pipeline'] = _numbers(data['test_pipeline'], f'{source}: test_pipeline')
    config_of(data, source)
    return data


def config_of(data: Any, source: Union[str, Path]) -> Config:
    """A config of plain data, once all that it names is known.

    Args:
        data: What JSON holds. The test pipeline may also be a list of transforms.
        source (str | Path): Where it is from, for the error.

    Raises:
        PANError: Naming what is not allowed.
    """
    if not isinstance(data, dict) or data.keys() != {'model', 'test_pipeline'}:
        raise PANError(f'{source}: its {CONFIG} must hold model and test_pipeline, nothing else')
    found = [_check_plain(value, f'{source}: {part}') for part, value in data.items()]
    found.append(_check_part(data['model'], 'model', f'{source}: model'))
    for problem in itertools.chain(*found):  # the first ends it: parts are looked at in plain data
        raise PANError(problem)
    numbers = data['test_pipeline']
    if isinstance(numbers, list):
        numbers = _numbers(numbers, f'{source}: test_pipeline')
    pipeline = _transforms(numbers, f'{source}: test_pipeline')
    return Config(dict(default_scope='mmaction', model=data['model'], test_pipeline=pipeline))


def _check_plain(value: Any, place: str, levels: int = MOST_LEVELS) -> Iterator[str]:
    """Find all but bounded dicts and lists of names, words and numbers."""
    if isinstance(value, (dict, list)):
        if not levels or len(value) > MOST_ITEMS:
            yield f'{place} is nested too deeply, or too long'
        for key in value if isinstance(value, dict) else ():
            # MMEngine expands dots when it merges, and reads names that begin with _.
            if not re.fullmatch('[A-Za-z][A-Za-z0-9_]*', key):
                yield f'{place} has {ascii(key)[1:-1]:.80}, which is not allowed'
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from _check_plain(each, f'{place}.{key}', levels - 1)
    elif isinstance(value, (int, float)) and not abs(value) <= MOST:  # NaN is none either
        yield f'{place} is out of bounds'


def _check_part(cfg: Any, slot: str, place: str) -> Iterator[str]:
    """Find all but the parts allowed at this place, with their arguments.

    Only the first problem counts; with it, what follows may be none.
    """
    if not isinstance(cfg, dict):
        yield f'{place} is {shown(cfg)}, not a part'
    kind = cfg.get('type')
    is_library = slot == 'backbone.backbone' and LIBRARY.fullmatch(str(kind))
    if not is_library and kind not in list(PARTS[slot]):  # it may be a list
        yield f'{place} names {shown(kind)}, which is not a part that may be built'
    if unknown := set() if kind is None else cfg.keys() - _arguments(kind, slot):
        yield f'{place} has {", ".join(sorted(unknown))}, which is not allowed'
    if kind == 'PANEnsemble':
        yield from _check_streams(cfg, place)
        return
    for key, value in cfg.items():
        inner = 'backbone.backbone' if slot == key == 'backbone' else key
        for each in value if isinstance(value, list) else [value]:
            if inner in PARTS and each is not None:
                yield from _check_part(each, inner, f'{place}.{key}')
            elif key != 'type' and not _is_plain_argument(key, each):
                yield f'{place} has {key}={shown(each)}, which is not allowed'


def _arguments(kind: str, slot: str) -> set:
    """Arguments that a part may have: not init_cfg, which reads files."""
    if LIBRARY.fullmatch(kind):
        return {'type', *LIBRARY_KEYS}
    # What builds a norm takes requires_grad out.
    own = {'requires_grad'} if slot == 'norm_cfg' else set()
    return {'type', *arguments(kind), *own} - {'init_cfg'}


def _is_plain_argument(key: str, value: Any) -> bool:
    if key == 'pretrained':
        return value is None
    if isinstance(value, str):
        pattern = LIBRARY if key == 'mean_std_of' else re.compile(r'[\w-]+')
        return pattern.fullmatch(value) is not None
    # Lists of numbers, and lists of such lists.
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, (int, float, type(None))) for each in values)


def _check_streams(model: dict, place: str) -> Iterator[str]:
    """Hold each stream of an ensemble, written out in full, against what may be built."""
    for key in ('data_preprocessor', 'train_cfg'):  # all else goes into the streams
        if model.get(key) is not None:
            yield from _check_part(model[key], key, f'{place}.{key}')
    streams = model.get('streams')
    if not isinstance(streams, dict) or not all(isinstance(s, dict) for s in streams.values()):
        yield f'{place}.streams must be a dict of dicts'
    if len(streams) > MOST_STREAMS:
        yield f'{place}.streams are {len(streams)}, more than {MOST_STREAMS}'
    if unknown := {key for own in streams.values() for key in own} - STREAM_KEYS:
        yield f'{place}.streams has {", ".join(sorted(unknown))}, which is not allowed'
    try:
        expanded = stream_configs(model)
    except (KeyError, TypeError, ValueError) as error:
        yield f'{place}.streams cannot be merged ({error})'
        return
    for name, (recognizer, *_) in expanded.items():
        yield from _check_part(recognizer, 'model', f'{place}.streams.{name}')


def _check_shapes(config: Config, weights: Path) -> None:
    """Refuse weights of another model before memory is taken for either."""
    init_default_scope('mmaction')
    try:
        with torch.device('meta'):
            model = MODELS.build(config.model)
    except ImportError:
        raise
    except Exception as error:  # whatever a part does with arguments that it cannot take
        raise PANError(f'{weights.parent}: its {CONFIG} cannot be built ({error})') from error
    own = {name: list(weight.shape) for name, weight in model.state_dict().items()}
    theirs = read_shapes(weights)
    for name in (*own, *theirs):
        if own.get(name) != theirs.get(name):
            raise CheckpointError(
                f'{weights} does not fit the model of {CONFIG}: {name} has the shape '
                f'{theirs.get(name)}, the model {own.get(name)}'
            )


# The test pipeline ----------------------------------------------------------------------------


def _numbers(transforms: list, place: str) -> dict:
    """The numbers of a test pipeline that is written as a list of transforms.

    Raises:
        PANError: If another transform or argument is in it, or the order is another one.
    """
    if not all(isinstance(transform, dict) for transform in transforms):
        raise PANError(f'{place} must be a list of transforms')
    numbers: dict = {}
    given = [{k: v for k, v in each.items() if k != 'meta_keys'} for each in transforms]
    for transform in given:
        numbers.update({k: v for k, v in transform.items() if k not in FIXED})
        for key, kinds in (('sampler', SAMPLERS), ('crop', CROPS)):
            if transform.get('type') in list(kinds):
                numbers[key] = transform['type']
    allowed = _transforms(numbers, place)
    for number, (own, theirs) in enumerate(itertools.zip_longest(allowed, given, fillvalue={})):
        theirs = {key: _tuple(value) for key, value in theirs.items()}
        if own.get('type') != theirs.get('type') or {**own, **theirs} != own:
            raise PANError(
                f'{place}.{number} is {shown(theirs)}, not {shown(own)}: it must open, sample, '
                'decode, resize, crop, format and pack frames, in this order'
            )
    return numbers


def _transforms(numbers: dict, place: str) -> list:
    """The test pipeline of its numbers.

    Args:
        numbers (dict): ``sampler`` and its numbers, ``scale`` (two, -1 for any) and
            ``keep_ratio``, ``crop`` and ``crop_size``. Frames without ``scale`` are not resized,
            without ``crop`` not cropped.
        place (str): Where they stand, for the error.

    Raises:
        PANError: If one is unknown, not a number, or out of bounds.
    """
    if not isinstance(numbers, dict):
        raise PANError(f'{place} must be a dict of numbers')
    sampler, crop = numbers.get('sampler'), numbers.get('crop')
    if not isinstance(sampler, str) or sampler not in SAMPLERS or crop not in (None, *CROPS):
        raise PANError(f'{place}: sampler and crop must be among {", ".join((*SAMPLERS, *CROPS))}')
    steps = [
        ('VideoInit', ''),
        (sampler, SAMPLERS[sampler]),
        ('VideoDecode', ''),
        *([('Resize', 'scale keep_ratio')] if 'scale' in numbers else []),
        *([(crop, 'crop_size')] if crop else []),
        ('FormatShape', ''),
        ('PackActionInputs', ''),
    ]
    known = {'sampler', 'crop', *(key for _, keys in steps for key in keys.split())}
    wrong = [k for k, value in numbers.items() if k not in known or not _is_number(k, value)]
    if wrong or (crop and 'crop_size' not in numbers):
        names = ', '.join(wrong or ['crop without crop_size'])
        raise PANError(f'{place} has {names}, which is not allowed or not a number')
    sides = [*_sides(numbers.get('scale', [])), *_sides(numbers.get('crop_size', []))]
    frames = numbers.get('clip_len', 1) * numbers.get('num_clips', 1)
    if frames * max(sides, default=512) ** 2 > MOST_PIXELS:
        raise PANError(f'{place}: {frames} frames of this size are out of bounds')
    fixed: dict = {sampler: dict(test_mode=True), 'FormatShape': dict(input_format='NCHW')}
    return [
        dict(
            type=kind,
            **{key: _tuple(numbers[key]) for key in keys.split() if key in numbers},
            **fixed.get(kind, {}),
        )
        for kind, keys in steps
    ]


def _is_number(key: str, value: Any) -> bool:
    if key in ('sampler', 'crop'):
        return True  # known already
    if key in ('twice_sample', 'keep_ratio'):
        return isinstance(value, bool)
    sides = _sides(value)
    if key == 'scale':
        return len(sides) == 2 and max(sides) > 0 and all(s > 0 or s == -1 for s in sides)
    return len(sides) in (1, 2) and min(sides) > 0 and (key == 'crop_size' or value in sides)


def _sides(value: Any) -> list:
    """One or more whole numbers as a list; empty if it is anything else."""
    sides = value if isinstance(value, list) else [value]
    return sides if all(type(side) is int for side in sides) else []


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
