"""Models from the Hugging Face Hub, or from a folder in its form, read only as data.

A repository holds ``model.safetensors`` and ``config.json``, the model and the test pipeline.
MMEngine builds whatever a config names, so each part, argument and value of it is first held
against :data:`PARTS` and :data:`VALUES`, and then against the shapes of the weights.
"""

import json
import re
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
from pan_mm.utils.safetensors import open_safetensors

PREFIX = 'hf://'
WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
CONFIG_BYTES = 2**20
# Bounds of what config.json describes: nesting, items of a dict or list, numbers, and the pixels
# of all views (32 frames at 2,048 x 2,048).
MOST_LEVELS, MOST_ITEMS, MOST, MOST_PIXELS = 10, 10_000, 100_000, 2**27
MOST_STREAMS, MOST_FRAMES = 16, 1_024
STREAM_KEYS = {'backbone', 'cls_head', 'test_cfg', 'weight'}

# Networks of other libraries in PANBackbone, and arguments that they may have.
LIBRARY = re.compile(r'(pan_mm|timm|torchvision|mmpretrain|mmcls)[./][\w.]+')
LIBRARY_ARGUMENTS = 'shift_div is_shift pretrained drop_rate drop_path_rate'
_BACKBONES_2D = 'ResNet ResNetTSM TANet MobileNetV2 MobileNetV2TSM'
# What may be built: for each key of a config the types that it may have. Where there are none, it
# is a dict without one.
PARTS = {
    'model': 'Recognizer2D PANEnsemble',
    'backbone': f'PANBackbone {_BACKBONES_2D}',
    'backbone.backbone': _BACKBONES_2D,
    'motion_cue': 'PersistenceOfAppearance FrameDifference',
    'persistence': 'PersistenceOfAppearance FrameDifference',
    'cls_head': 'VAPHead TSNHead TSMHead',
    'aggregation': 'VariousTimescaleAggregation SegmentPooling',
    'consensus': 'AvgConsensus',
    'loss_cls': 'CrossEntropyLoss BCELossWithLogits',
    'data_preprocessor': 'ActionDataPreprocessor PANDataPreprocessor',
    'conv_cfg': 'Conv2d',
    'norm_cfg': 'BN BN2d SyncBN',
    'act_cfg': 'ReLU ReLU6',
    'tam_cfg': '',
    'train_cfg': '',
    'test_cfg': '',
    'test_pipeline': 'VideoInit PANSampleFrames SampleFrames UniformSample VideoDecode Resize '
    'CenterCrop ThreeCrop TenCrop FormatShape PackActionInputs',
}
# Arguments that these may have, where they differ from the arguments of their class.
_SAMPLING = 'clip_len num_clips frame_interval twice_sample test_mode'
ARGUMENTS = {
    **dict.fromkeys(('BN', 'BN2d', 'SyncBN'), 'requires_grad eps momentum'),
    **dict.fromkeys(('PANSampleFrames', 'SampleFrames', 'UniformSample'), _SAMPLING),
    **dict.fromkeys(('CenterCrop', 'ThreeCrop', 'TenCrop'), 'crop_size'),
    **dict.fromkeys(('VideoInit', 'VideoDecode', 'PackActionInputs'), ''),
    'Resize': 'scale keep_ratio',
    'FormatShape': 'input_format',
}


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST_FRAMES


def _is_size(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return len(numbers) in (1, 2) and all(type(number) is int for number in numbers)


def _is_plain(value: Any) -> bool:
    """Tell a word, numbers, or lists of such lists."""
    if isinstance(value, list):
        return all(not isinstance(each, str) and _is_plain(each) for each in value)
    if isinstance(value, str):
        return re.fullmatch(r'[\w-]+', value) is not None
    return isinstance(value, (int, float, type(None)))


# Values that some arguments may have; all others are plain.
VALUES: dict = {
    **dict.fromkeys(('num_segments', 'clip_len', 'num_clips', 'frame_interval'), _is_count),
    **dict.fromkeys(('scale', 'crop_size'), _is_size),
    'pretrained': lambda value: value is None,
    'input_format': lambda value: value == 'NCHW',
    'mean_std_of': lambda value: LIBRARY.fullmatch(str(value)) is not None,
}


def is_hub(name: str) -> bool:
    """Tell whether a name means a repository (``hf://OWNER/NAME``) or a folder in its form."""
    return name.startswith(PREFIX) or any((Path(name) / f).is_file() for f in (WEIGHTS, CONFIG))


def open_hub(name: str) -> tuple:
    """Open config and weights of ``hf://OWNER/NAME[@REVISION]``, or of a folder.

    Returns:
        tuple[Config, Path]: The config, of ``model`` and ``test_pipeline``, and the weights.

    Raises:
        PANError: If it lacks a file, or its config is not plain data of known parts.
        CheckpointError: If the weights are damaged or do not fit the config.
        OSError: If it cannot be fetched.
    """
    folder, files = Path(name), [WEIGHTS, CONFIG]
    if name.startswith(PREFIX):
        from huggingface_hub import snapshot_download

        repository, _, revision = name[len(PREFIX) :].partition('@')
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=files)
        )
    for file in files:
        problem = f'has no {file}; it must hold {WEIGHTS} and {CONFIG}'
        _require((folder / file).is_file(), name, problem)
    _require((folder / CONFIG).stat().st_size <= CONFIG_BYTES, name, 'has a too large config')
    try:
        data = json.loads((folder / CONFIG).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise PANError(f'{name}: its {CONFIG} cannot be read ({error})') from error
    config = config_of(data, name)
    _check_shapes(config, folder / WEIGHTS)
    return config, folder / WEIGHTS


def plain_config(config: Config) -> dict:
    """Make the contents of ``config.json``: a model, without addresses, and its pipeline."""
    # Another opener and decoder give the same frames; their settings stay on this machine.
    fixed = dict(open='VideoInit', decode='VideoDecode', pack='PackActionInputs')
    steps = [
        dict(type=fixed[kind]) if (kind := kind_of(step)) in fixed else step
        for step in VideoPipeline(config).transforms
    ]
    data = dict(model=config.model.to_dict(), test_pipeline=steps)
    data = json.loads(json.dumps(without(data, ('pretrained',)), default=str))
    config_of(data, config.filename or 'the config')
    return data


def config_of(data: Any, source: Union[str, Path]) -> Config:
    """Make a config of what JSON holds, once all that it names is known to be allowed."""
    is_whole = isinstance(data, dict) and data.keys() == {'model', 'test_pipeline'}
    _require(is_whole, f'{source}: its {CONFIG}', 'must hold model and test_pipeline, nothing else')
    for part, value in data.items():
        _check_plain(value, f'{source}: {part}')
    _check_part(data['model'], 'model', f'{source}: model')
    steps, place = data['test_pipeline'], f'{source}: test_pipeline'
    _require(isinstance(steps, list), place, 'must be a list of transforms')
    for number, step in enumerate(steps):
        _check_part(step, 'test_pipeline', f'{place}.{number}')
    steps = [
        {key: tuple(value) if isinstance(value, list) else value for key, value in step.items()}
        for step in steps
    ]
    config = Config(dict(default_scope='mmaction', model=data['model'], test_pipeline=steps))
    _check_pixels(VideoPipeline(config), place)
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
    """Refuse all but the parts allowed at this place, with their arguments and values."""
    _require(isinstance(cfg, dict), place, f'is {shown(cfg)}, not a part')
    kind = cfg.get('type')
    is_library = slot == 'backbone.backbone' and LIBRARY.fullmatch(str(kind))
    known = PARTS[slot].split() or [None]
    is_known = is_classification(kind) if is_library else kind in known
    _require(is_known, place, f'names {shown(kind)}, which is not a part that may be built')
    if kind is not None:
        given = LIBRARY_ARGUMENTS if is_library else ARGUMENTS.get(kind)
        # init_cfg reads files.
        allowed = arguments(kind).keys() - {'init_cfg'} if given is None else set(given.split())
        _refuse_keys(cfg.keys() - allowed - {'type'}, place)
    if kind == 'PANEnsemble':
        _check_streams(cfg, place)
        return
    for key, value in cfg.items():
        inner = 'backbone.backbone' if slot == key == 'backbone' else key
        if inner in PARTS:
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    _check_part(each, inner, f'{place}.{key}')
        elif key != 'type':
            is_allowed = VALUES.get(key, _is_plain)(value)
            _require(is_allowed, place, f'has {key}={shown(value)}, which is not allowed')


def _refuse_keys(keys: set, place: str) -> None:
    _require(not keys, place, f'has {", ".join(sorted(keys))}, which is not allowed')


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


def _check_pixels(pipeline: VideoPipeline, place: str) -> None:
    """Refuse clips of more pixels than a machine can be expected to hold."""
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
    with open_safetensors(weights) as file:
        theirs = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    for name in (*own, *theirs):
        if own.get(name) != theirs.get(name):
            raise CheckpointError(
                f'{weights} does not fit the model of {CONFIG}: {name} has the shape '
                f'{theirs.get(name)}, the model {own.get(name)}'
            )
