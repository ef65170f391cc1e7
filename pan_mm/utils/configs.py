"""Where our configs are, in a checkout and in an installed package."""

from pathlib import Path
from typing import Union

PACKAGE = Path(__file__).resolve().parents[1]


def config_path(name: Union[str, Path]) -> Path:
    """The config of that path, or else of that name among ours, such as 'pan-en_r50_….py'."""
    path = Path(name)
    if not path.exists() and path.name == str(path):
        for folder in (PACKAGE.parent / 'configs', PACKAGE / '.mim' / 'configs'):
            for found in sorted(folder.rglob(path.name)):
                return found
    return path
