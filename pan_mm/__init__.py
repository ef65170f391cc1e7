"""PAN (Persistent Appearance Network, arXiv 2008.03462) as a plugin of MMAction2.

``import pan_mm`` repairs faults of the installed upstream stack and makes PAN's parts known
to MMAction2's registries, which import them when they are first asked for a part.
"""

import importlib
import os
import sys

# While Python looks for the module of `python -m pan_mm`, argv[0] is '-m'. It would look for all
# modules in the current folder first, which may hold anything.
_is_command = sys.argv[:1] == ['-m'] and ' -m pan_mm' in ' '.join(sys.orig_argv)
if _is_command and not getattr(sys.flags, 'safe_path', False):
    del sys.path[0]

try:
    from . import compat
    from .version import __version__

    compat.apply()

    from . import registry  # MMAction2 can be imported only now
except KeyboardInterrupt:  # this takes seconds
    if _is_command or os.path.basename(sys.argv[0]) == 'pan_mm':
        sys.exit('interrupted')
    raise

__all__ = ['__version__', 'datasets', 'engine', 'get_model', 'list_models', 'models', 'registry']


def __getattr__(name):
    if name in ('get_model', 'list_models'):
        return getattr(importlib.import_module(f'{__name__}.apis'), name)
    if name in __all__:
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
