"""Models by name: the configs of the zoo, and the trained models that come with the package.

A trained model is a safetensors file in ``pan_mm/pretrained``, beside its card; its ``config`` is
the name of a config here.
"""

import fnmatch
import sys
from pathlib import Path
from typing import NamedTuple, Optional, Union

from mmengine.config import Config

from pan_mm.config.find import PACKAGE, configs
from pan_mm.utils.errors import PANError, nearest
from pan_mm.utils.safetensors import SUFFIX, read_texts

from .hub import is_hub, open_hub

PRETRAINED = PACKAGE / 'pretrained'


class Model(NamedTuple):
    """A model by its name."""

    name: str
    config: Union[Path, Config]  # of a model of the hub its config, otherwise the file
    weights: Optional[Path] = None  # of a trained model


def list_models(pattern: str = '*', pretrained: bool = False) -> list:
    """Names of the models: the trained ones first, then the configs of the zoo.

    Args:
        pattern (str): With wildcards, such as ``'pan-lite*sthv2*'``. Defaults to all.
        pretrained (bool): Only those whose weights come with the package. Defaults to False.

    Example:
        >>> list_models('pan-en_r50*sth*')
        ['pan-en_r50_4x1x8_sthv1-rgb', 'pan-en_r50_4x1x8_sthv2-rgb']
    """
    names = sorted(path.stem for path in PRETRAINED.glob(f'*{SUFFIX}'))
    return fnmatch.filter(dict.fromkeys([*names, *([] if pretrained else configs())]), pattern)


def find_model(name: Optional[str] = None) -> Model:
    """Find the model of a name, or raise a PANError with the nearest names.

    Args:
        name (str, optional): A name from :func:`list_models`, ``hf://OWNER/NAME``, or a folder that
            :func:`pan_mm.deploy.export.save_pretrained` wrote. Defaults to the first trained model
            that comes with the package.
    """
    trained = list_models(pretrained=True)
    if name is not None and is_hub(name):
        if name in trained or name in configs():
            raise PANError(
                f'{name} is a model of the zoo, and the folder {Path(name).resolve()} is another; '
                f'for that, give ./{name}'
            )
        return Model(name, *open_hub(name))
    if name is None and not trained:
        raise PANError('this pan_mm comes without a trained model; give a config and a checkpoint')
    name, paths = name or trained[0], configs()
    if name in trained:
        weights = PRETRAINED / f'{name}{SUFFIX}'
        return Model(name, paths[read_texts(weights)['config']], weights)
    if name in paths:
        return Model(name, paths[name])
    raise PANError(f'no model is called {name!r}; {nearest(name, [*trained, *paths])}')


def choose(
    config: Union[str, Path, Config, None] = None, checkpoint: Union[str, Path, None] = None
) -> tuple:
    """Config and checkpoint of what a user names; a trained model is named on stderr.

    Returns:
        tuple: A config file or ``Config``, and a checkpoint or None.

    Raises:
        PANError: If there is no such model, or a checkpoint without a config.
    """
    if config is None and checkpoint is not None:
        raise PANError(
            f'{checkpoint}: name the config, or the model, that it was trained with; --config FILE '
            'or --model NAME on the command line'
        )
    if config is not None and (not isinstance(config, str) or is_path(config)):
        return config, checkpoint
    model = find_model(config)
    if checkpoint is None and model.weights:
        card = model.weights.with_suffix('.md')
        more = f', see {card}' if card.is_file() else ''
        print(f'model: {model.name}{more}', file=sys.stderr)
    return model.config, checkpoint or model.weights


def is_path(config: str) -> bool:
    """Tell whether a text means a file, not a name."""
    path = Path(config)
    is_file = path.is_file() or path.name != config
    return not is_hub(config) and (is_file or path.suffix in ('.py', '.json', '.yaml', '.yml'))
