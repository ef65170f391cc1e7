"""PAN (Persistent Appearance Network, arXiv 2008.03462) as a plugin of MMAction2.

``import pan_mm`` repairs what is broken in the installed upstream stack and registers
PAN's parts in MMAction2's registries; nothing else happens on import.
"""

from . import compat

compat.apply()

from . import datasets, engine, models  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'datasets', 'engine', 'models']
