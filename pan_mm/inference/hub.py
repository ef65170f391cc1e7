"""Models from the Hugging Face Hub, or from a folder in its form, read only as data.

A repository holds ``model.safetensors`` and ``config.json``, the model and the test pipeline.
MMEngine builds whatever a config names, so it is first held against :data:`PARTS` and
:data:`TRANSFORMS`, and then against the shapes of the weights. No other file is fetched.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pan_mm.config.find import without
from pan_mm.config.overrides import arguments
from pan_mm.config.pipelines import VideoPipeline, kind_of
from pan_mm.models.backbone_2d import is_classification
from pan_mm.models.pan_ensemble import stream_configs
from pan_mm.utils.errors import CheckpointError, PANError, shown
from pan_mm.utils.safetensors import read_shapes

PREFIX = 'hf://'
WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
CONFIG_BYTES = 2**20
# Bounds of what config.json describes: nesting, items of a dict or list, numbers, and the pixels
# of all views (32 frames at 2,048 x 2,048).
MOST_LEVELS, MOST_ITEMS, MOST, MOST_PIXELS = 10, 10_000, 100_000, 2**27
MOST_STREAMS = 16
COUNTS, MOST_FRAMES = {'num_segments', 'clip_len', 'num_clips'}, 1_024
STREAM_KEYS = {'backbone', 'cls_head', 'test_cfg', 'weight'}

_BACKBONES_2D = {
    *('ResNet', 'ResNetTSM', 'TANet', 'MobileNetV2', 'MobileNetV2TSM'),
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
    *('shift_div', 'is_shift', 'pretrained'),
    *('drop_rate', 'drop_path_rate'),
}

# Transforms of the test pipeline, and their arguments.
_SAMPLING, _CROP = 'clip_len num_clips frame_interval twice_sample test_mode', 'crop_size'
TRANSFORMS = {
    'VideoInit': '',
    'PANSampleFrames': _SAMPLING,
    'SampleFrames': _SAMPLING,
    'UniformSample': _SAMPLING,
    'VideoDecode': '',
    'Resize': 'scale keep_ratio',
    'CenterCrop': _CROP,
    'ThreeCrop': _CROP,
    'TenCrop': _CROP,
    'FormatShape': 'input_format',
    'PackActionInputs': '',
}


def is_hub(name: str) -> bool:
    """Tell whether a name means a repository (``hf://OWNER/NAME``) or a folder in its form."""
    return name.startswith(PREFIX) or any((Path(name) / f).is_file() for f in (WEIGHTS, CONFIG))


def open_hub(name: str) -> tuple:
    """Open config and weights of a repository.

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
    """Import the package huggingface_hub.

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
    """Make the contents of ``config.json``: a model, without pretrained weights, and its pipeline.

    Raises:
        PANError: If they are not plain data of known parts.
    """
    # Another opener and decoder give the same frames; their settings stay on this machine.
    fixed = dict(
        open=dict(type='VideoInit'),
        decode=dict(type='VideoDecode'),
        pack=dict(type='PackActionInputs'),
    )
    steps = [fixed.get(kind_of(step), step) for step in VideoPipeline(config).transforms]
    data = dict(model=config.model.to_dict(), test_pipeline=steps)
    data = json.loads(json.dumps(without(data, ('pretrained',)), default=str))
    config_of(data, config.filename or 'the config')
    return data


def config_of(data: Any, source: Union[str, Path]) -> Config:
    """Make a config of plain data, once all that it names is known.

    Args:
        data: What JSON holds.
        source (str | Path): Where it is from, for the error.

    Raises:
        PANError: Naming the first part that is not allowed.
    """
    if not isinstance(data, dict) or data.keys() != {'model', 'test_pipeline'}:
        raise PANError(f'{source}: its {CONFIG} must hold model and test_pipeline, nothing else')
    for part, value in data.items():
        _check_plain(value, f'{source}: {part}')
    _check_part(data['model'], 'model', f'{source}: model')
    transforms, place = data['test_pipeline'], f'{source}: test_pipeline'
    _require(isinstance(transforms, list), place, 'must be a list of transforms')
    steps = [_checked_transform(each, f'{place}.{i}') for i, each in enumerate(transforms)]
    config = Config(dict(default_scope='mmaction', model=data['model'], test_pipeline=steps))
    _check_pixels(config, place)
    return config


def _require(is_allowed: Any, place: str, problem: str) -> None:
    if not is_allowed:
        raise PANError(f'{place} {problem}')


def _check_plain(value: Any, place: str, levels: int = MOST_LEVELS) -> None:
    """Refuse all but bounded dicts and lists of names, words and numbers."""
    if isinstance(value, (dict, list)):
        _require(levels and len(value) <= MOST_ITEMS, place, 'is nested too deeply, or too long')
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            # MMEngine expands dots when it merges, and reads names that begin with _.
            is_name = isinstance(key, int) or re.fullmatch('[A-Za-z][A-Za-z0-9_]*', key)
            _require(is_name, place, f'has {ascii(key)[1:-1]:.80}, which is not allowed')
            _check_plain(each, f'{place}.{key}', levels - 1)
    elif isinstance(value, (int, float)):
        _require(abs(value) <= MOST, place, 'is out of bounds')  # NaN is none either


def _check_part(cfg: Any, slot: str, place: str) -> None:
    """Refuse all but the parts allowed at this place, with their arguments."""
    _require(isinstance(cfg, dict), place, f'is {shown(cfg)}, not a part')
    kind = cfg.get('type')
    is_library = slot == 'backbone.backbone' and _is_network(str(kind))
    is_known = is_library or kind in list(PARTS[slot])  # it may be a list
    _require(is_known, place, f'names {shown(kind)}, which is not a part that may be built')
    if kind is not None:
        _refuse_keys(cfg.keys() - _arguments(kind, slot), place)
    if kind == 'PANEnsemble':
        _check_streams(cfg, place)
        return
    for key, value in cfg.items():
        is_allowed = key not in COUNTS or _is_count(value)
        _require(is_allowed, place, f'has {key}={shown(value)}, not 1 to {MOST_FRAMES:,}')
        inner = 'backbone.backbone' if slot == key == 'backbone' else key
        for each in value if isinstance(value, list) else [value]:
            if inner in PARTS and each is not None:
                _check_part(each, inner, f'{place}.{key}')
            elif key != 'type':
                is_allowed = _is_plain_argument(key, each)
                _require(is_allowed, place, f'has {key}={shown(each)}, which is not allowed')


def _is_network(kind: str) -> bool:
    return LIBRARY.fullmatch(kind) is not None and is_classification(kind)


def _refuse_keys(keys: Iterable[str], place: str) -> None:
    _require(not keys, place, f'has {", ".join(sorted(keys))}, which is not allowed')


def _arguments(kind: str, slot: str) -> set:
    """List the arguments that a part may have: not init_cfg, which reads files."""
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


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST_FRAMES


def _check_streams(model: dict, place: str) -> None:
    """Hold each stream of an ensemble, written out in full, against what may be built."""
    for key in ('data_preprocessor', 'train_cfg'):  # all else goes into the streams
        if model.get(key) is not None:
            _check_part(model[key], key, f'{place}.{key}')
    streams, place = model.get('streams'), f'{place}.streams'
    are_dicts = isinstance(streams, dict) and all(isinstance(s, dict) for s in streams.values())
    _require(are_dicts, place, 'must be a dict of dicts')
    _require(len(streams) <= MOST_STREAMS, place, f'are {len(streams)}, more than {MOST_STREAMS}')
    _refuse_keys({key for own in streams.values() for key in own} - STREAM_KEYS, place)
    try:
        expanded = stream_configs(model)
    except (KeyError, TypeError, ValueError) as error:
        raise PANError(f'{place} cannot be merged ({error})') from error
    for name, (recognizer, *_) in expanded.items():
        _check_part(recognizer, 'model', f'{place}.{name}')


def _checked_transform(transform: Any, place: str) -> dict:
    """Refuse another transform, or another argument than numbers and flags; lists become tuples."""
    kind = transform.get('type') if isinstance(transform, dict) else None
    is_known = kind in [*TRANSFORMS]  # it may be a list
    _require(is_known, place, f'is {shown(transform)}, which may not be built')
    _refuse_keys(transform.keys() - {'type', *TRANSFORMS[kind].split()}, place)
    for key, value in transform.items():
        is_allowed = key == 'type' or _is_setting(key, value)
        _require(is_allowed, place, f'has {key}={shown(value)}, which is not allowed')
    return {k: tuple(v) if isinstance(v, list) else v for k, v in transform.items()}


def _is_setting(key: str, value: Any) -> bool:
    if key == 'input_format':
        return value == 'NCHW'
    if key in COUNTS:
        return _is_count(value)
    if key in ('twice_sample', 'test_mode', 'keep_ratio'):
        return isinstance(value, bool)
    numbers = value if isinstance(value, list) and key in ('scale', 'crop_size') else [value]
    least = -1 if key == 'scale' else 1
    are_numbers = all(type(number) is int and number >= least for number in numbers)
    return are_numbers and len(numbers) in (1, 2) and max(numbers) > 0


def _check_pixels(config: Config, place: str) -> None:
    """Refuse clips of more pixels than a machine can be expected to hold."""
    pipeline = VideoPipeline(config)
    _require(len(pipeline.of_kind('sample')) == 1, place, 'must sample frames once')
    sides: list = []
    for transform in pipeline.of_kind('change'):
        for key in transform.keys() & {'scale', 'crop_size'}:
            value = transform[key]
            sides += value if isinstance(value, tuple) else [value]
    pixels = pipeline.num_views * pipeline.num_frames * max(sides, default=512) ** 2
    _require(pixels <= MOST_PIXELS, place, f'gives {pixels:,} pixels, which are out of bounds')


def _check_shapes(config: Config, weights: Path) -> None:
    """Refuse weights of another model before memory is taken for either."""
    init_default_scope('mmaction')
    try:
        with torch.device('meta'):
            model = MODELS.build(config.model)
        VideoPipeline(config).reader()
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
