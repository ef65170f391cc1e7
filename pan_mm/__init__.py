"""PAN (Persistent Appearance Network, arXiv 2008.03462) as a plugin of MMAction2.

``import pan_mm`` repairs what is broken in the installed upstream stack and registers
PAN's parts in MMAction2's registries; nothing else happens on import.
"""

import sys

from .version import __version__

import_error = None

try:
    from . import compat

    compat.apply()

    from . import datasets, engine, models, registry
except Exception as error:
    # While Python looks for the module of `python -m pan_mm`, argv[0] is '-m'. That command must
    # go on: its `doctor` explains this very error, and every other command stops at it.
    if sys.argv[:1] != ['-m']:
        raise
    import_error = error

__all__ = ['__version__', 'datasets', 'engine', 'models', 'registry']
