"""MMAction2's own command-line tools, for tools that build on them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import mmaction


def upstream_tool(name: str) -> ModuleType:
    """Import one of the tools that MMAction2 brings along.

    Args:
        name (str): Path in MMAction2's tools folder, such as 'train.py'.

    Raises:
        FileNotFoundError: If the installed MMAction2 has no such tool.
    """
    package = Path(mmaction.__file__).parent
    for folder in (package / '.mim' / 'tools', package.parent / 'tools'):
        path = folder / name
        if path.is_file():
            spec = importlib.util.spec_from_file_location(f'mmaction_tool_{path.stem}', path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise FileNotFoundError(
        f'MMAction2 {mmaction.__version__} in {package} has no tools/{name}; '
        'reinstall it with: pip install --force-reinstall --no-deps mmaction2'
    )
