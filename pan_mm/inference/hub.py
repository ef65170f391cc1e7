"""Models from the Hugging Face Hub, or from a folder in its form, read only as data.

A repository holds ``model.safetensors`` and ``config.json``, the model and the test pipeline of a
config. MMEngine builds whatever a config names, so what these name is checked first: parts of
PAN, plain 2D and 3D recognizers, and transforms of frames. No other file of it is fetched.
"""

import json
import re
from pathlib import Path
from typing import Any, Optional, Union

from mmaction.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import Registry

from pan_mm.config.find import without
from pan_mm.utils.errors import PANError

PREFIX = 'hf://'
WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
SOURCES = {  # modules, or their prefixes, of what may be built
    'model': (
        'pan_mm.models.',
        'torch.nn.',
        'mmcv.cnn.',
        'mmaction.models.backbones.mobilenet_v2',
        'mmaction.models.backbones.resnet',
        'mmaction.models.backbones.tanet',
        'mmaction.models.data_preprocessors.data_preprocessor',
        'mmaction.models.heads.',
        'mmaction.models.losses.',
        'mmaction.models.recognizers.recognizer2d',
        'mmaction.models.recognizers.recognizer3d',
    ),
    'test_pipeline': (
        'pan_mm.datasets.',
        'mmaction.datasets.transforms.formatting',
        'mmaction.datasets.transforms.loading',
        'mmaction.datasets.transforms.processing',
    ),
}
REGISTRIES = {'model': MODELS, 'test_pipeline': TRANSFORMS}
LIBRARY = re.compile(r'(timm|torchvision|mmpretrain|mmcls)[./][\w.]+')
LIBRARY_KEYS = {'type', 'shift_div', 'causal', 'is_shift', 'drop_rate', 'drop_path_rate'}


def is_hub(name: str) -> bool:
    """Whether a name is of a repository (``hf://OWNER/NAME``), or of a folder in its form."""
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
        ImportError: If huggingface_hub is missing.
    """
    folder = _fetch(name[len(PREFIX) :]) if name.startswith(PREFIX) else Path(name)
    for file in (WEIGHTS, CONFIG):
        if not (folder / file).is_file():
            raise PANError(f'{name} has no {file}; it must hold {WEIGHTS} and {CONFIG}')
    try:
        data = json.loads((folder / CONFIG).read_text(encoding='utf-8'))
        return config_of(data, name), folder / WEIGHTS
    except PANError:
        raise
    except (ValueError, RecursionError) as error:
        raise PANError(f'{name}: its {CONFIG} cannot be read ({error})') from error


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
    """What ``config.json`` holds of a config: its model, without pretrained weights, and pipeline.

    Raises:
        PANError: If they are not plain data of known parts.
    """
    from pan_mm.config.pipelines import VideoPipeline

    data = dict(model=config.model.to_dict(), test_pipeline=VideoPipeline(config).transforms)
    data = json.loads(json.dumps(without(data, ('pretrained',)), default=str))
    config_of(data, config.filename or 'the config')
    return data


def config_of(data: Any, source: Union[str, Path]) -> Config:
    """A config of plain data, once all that it names is known.

    Args:
        data: What JSON holds.
        source (str | Path): Where it is from, for the error.

    Raises:
        PANError: Naming what is not allowed.
    """
    if not isinstance(data, dict) or data.keys() != REGISTRIES.keys():
        raise PANError(f'{source}: its {CONFIG} must hold {" and ".join(REGISTRIES)}, nothing else')
    for part, registry in REGISTRIES.items():
        registry.import_from_location()
        _check(data[part], part, registry, f'{source}: {part}')
    return Config(
        dict(
            default_scope='mmaction',
            model=data['model'],
            test_pipeline=_tuples(data['test_pipeline']),
        )
    )


def _check(value: Any, part: str, registry: Registry, place: str) -> None:
    """Refuse all but plain values and dicts whose ``type`` is a known part."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            _check(each, part, registry, f'{place}.{number}')
    if not isinstance(value, dict):
        return
    kind = value.get('type')
    if kind is not None:
        inside = isinstance(kind, str) and LIBRARY.fullmatch(kind)
        if inside and place.endswith('.backbone.backbone'):
            if unknown := value.keys() - LIBRARY_KEYS - {'pretrained'}:
                raise PANError(f'{place} has {", ".join(sorted(unknown))}, which is not allowed')
        elif not _is_known(kind, part, registry):
            raise PANError(f'{place} names {kind!r:.80}, which is not a part that may be built')
    for key, each in value.items():
        if key.startswith('_') or key == 'init_cfg' or (key == 'pretrained' and each is not None):
            raise PANError(f'{place} has {key}, which is not allowed')
        _check(each, part, registry, f'{place}.{key}')


def _is_known(kind: Any, part: str, registry: Optional[Registry]) -> bool:
    while isinstance(kind, str) and registry is not None:
        if kind in registry.module_dict:
            return registry.module_dict[kind].__module__.startswith(SOURCES[part])
        registry = registry.parent
    return False


def _tuples(value: Any) -> Any:
    """Turn all lists but the outermost into tuples, as transforms want them."""
    if isinstance(value, dict):
        return {key: _inner(each) for key, each in value.items()}
    return [_tuples(each) for each in value]


def _inner(value: Any) -> Any:
    return tuple(map(_inner, value)) if isinstance(value, list) else value
