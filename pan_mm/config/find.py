"""Finding configs, in a checkout or an installed package, and copies of them."""

import copy
from collections.abc import Container
from pathlib import Path
from typing import Any, Union

from pan_mm.utils.errors import nearest

PACKAGE = Path(__file__).resolve().parents[1]
# A wheel and an editable install have them where mim looks, a bare checkout beside the package.
FOLDERS = (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs')


def configs() -> dict:
    """Path of each config of a model by its name."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob('recognition/*/*.py'))}


def config_path(name: Union[str, Path]) -> Path:
    """Find the config of that path, or of that name among ours, such as 'pan-en_r50_….py'."""
    path = Path(name)
    if not path.exists() and path.name == str(path):
        return configs().get(path.name.removesuffix('.py'), path)
    return path


def require_config(name: Union[str, Path]) -> Path:
    """Find it, or raise a FileNotFoundError that names the nearest configs."""
    path = config_path(name)
    if not path.is_file():
        names = {*configs(), *(each.stem for each in path.parent.glob('*.py'))}
        raise FileNotFoundError(f'{name}: no such config file; {nearest(path.stem, names)}')
    return path


def without(node: Any, keys: Container[str]) -> Any:
    """Copy a config, with these keys set to None at any depth."""
    if isinstance(node, dict):
        node = copy.copy(node)
        for key, value in node.items():
            node[key] = None if key in keys else without(value, keys)
    elif isinstance(node, (list, tuple)):
        node = type(node)(without(value, keys) for value in node)
    return node
