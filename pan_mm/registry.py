"""Places of PAN's parts for MMAction2's registries, and registries of the scope ``pan_mm``.

Names of experiments that moved to ``projects`` point to the import that brings them.

PAN's parts are registered in MMAction2's own registries. A config whose base names the scope,
``_base_ = 'pan_mm::...'``, is built by MMEngine in registries of that scope; these are empty and
pass every name on to MMAction2's.
"""

import importlib

from mmaction import registry as mmaction_registry
from mmengine.registry import Registry

from pan_mm.utils.errors import ConfigError

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

MOVED = {
    'FrameStack': ('MODELS', 'projects.motion_cues'),
    'MotionCues': ('MODELS', 'projects.motion_cues'),
    'DistillationHook': ('HOOKS', 'projects.distillation'),
}


def _pointer(name, module):
    """Say where a moved part is; its project registers the part in place of this."""

    def build(*args, **kwargs):
        raise ConfigError(
            f"{name} is an experiment in {module}: set custom_imports = dict(imports=['pan_mm', "
            f"'{module}']) in the config and put the repository's root on PYTHONPATH"
        )

    return build


for _name, (_registry, _module) in MOVED.items():
    getattr(mmaction_registry, _registry).register_module(
        name=_name, module=_pointer(_name, _module)
    )

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
