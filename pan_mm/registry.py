"""Registries of the scope ``pan_mm``, for configs that name it: ``_base_ = 'pan_mm::...'``.

PAN's parts are registered in MMAction2's own registries. MMEngine builds what such a base
config holds in registries of the base's scope; these are empty and pass every name on to
MMAction2's.
"""

from mmaction import registry as mmaction_registry
from mmengine.registry import Registry

__all__ = []

for _name, _parent in vars(mmaction_registry).copy().items():
    if isinstance(_parent, Registry) and _parent.scope == 'mmaction':
        globals()[_name] = Registry(
            _parent.name,
            parent=_parent,
            scope='pan_mm',
            # MMEngine imports the locations of the registry at hand, not of its parents.
            locations=['pan_mm', *_parent._locations],
        )
        __all__.append(_name)
