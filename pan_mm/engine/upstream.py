"""MMAction2's own command-line tools, for tools that build on them."""

import os
import runpy
import sys
from pathlib import Path

import mmaction

from pan_mm.utils.configs import config_path
from pan_mm.utils.errors import PANError


def find_tool(name: str) -> Path:
    """The file of one of the tools that MMAction2 includes.

    Args:
        name (str): Path in MMAction2's tools folder, or the file's name, with or without '.py'; or
            the path of any script, with a folder before its name.

    Raises:
        FileNotFoundError: If the installed MMAction2 has no such tool.
    """
    if os.sep in name and os.path.isfile(name):
        return Path(name)
    package = Path(mmaction.__file__).parent
    name = f'{name.removesuffix(".py")}.py'
    folders = (package / '.mim' / 'tools', package.parent / 'tools')
    for folder in folders:
        for path in (folder / name, *sorted(folder.rglob(Path(name).name))):
            if path.is_file():
                return path
    there = sorted({path.stem for folder in folders for path in folder.glob('[!d]*/*.py')})
    raise FileNotFoundError(
        f'MMAction2 {mmaction.__version__} in {package} has no tool {name}; '
        + (f'it has {", ".join(there)}' if there else 'install it again')
    )


def run_tool(name: str) -> None:
    """Run one of these tools with the arguments of the process, and end with its exit status.

    The first of them that ends in '.py' may be the name of one of our configs, as for
    :func:`pan_mm.utils.configs.config_path`. Bad input ends it with ``error: …``.
    """
    for i, word in enumerate(sys.argv[1:], 1):
        if word.endswith('.py'):
            sys.argv[i] = str(config_path(word))
            break
    try:
        runpy.run_path(str(find_tool(name)), run_name='__main__')
    except PANError as error:
        sys.exit(f'error: {error}')
