"""Where MMAction2's registries find PAN's parts, and registries of the scope ``pan_mm``.

PAN's parts are registered in MMAction2's own registries. A config whose base names the scope,
``_base_ = 'pan_mm::...'``, is built by MMEngine in registries of that scope; these are empty and
pass every name on to MMAction2's.
"""

import importlib

from mmaction import registry as mmaction_registry
from mmengine.registry import Registry

__all__ = []

LOCATIONS = {
    'MODELS': 'pan_mm.models',
    'DATASETS': 'pan_mm.datasets',
    'DATA_SAMPLERS': 'pan_mm.datasets',
    'TRANSFORMS': 'pan_mm.datasets',
    'HOOKS': 'pan_mm.engine',
    'RUNNERS': 'pan_mm.engine',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'pan_mm.engine',
}
for _name, _location in LOCATIONS.items():
    _upstream = getattr(mmaction_registry, _name)
    _upstream._locations.append(_location)
    if _upstream._imported:  # it will not import its locations again
        importlib.import_module(_location)

for _name, _parent in vars(mmaction_registry).copy().items():
    if isinstance(_parent, Registry) and _parent.scope == 'mmaction':
        globals()[_name] = Registry(
            _parent.name,
            parent=_parent,
            scope='pan_mm',
            # MMEngine imports the locations of this registry, not of its parents.
            locations=['pan_mm', *_parent._locations],
        )
        __all__.append(_name)
