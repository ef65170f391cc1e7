"""The scope ``pan_mm``, for ``_base_ = 'pan_mm::…'`` and ``mmengine.hub``.

MMEngine builds what comes from another package's config in that package's scope. PAN's parts
are in MMAction2's registries (scope ``mmaction``), so these children are empty: every name is
looked up in their parents, once :func:`pan_mm.utils.register_all_modules` has filled those.
"""

from mmaction import registry as upstream
from mmengine.registry import Registry

for _name, _parent in list(vars(upstream).items()):
    if isinstance(_parent, Registry) and _parent.scope == 'mmaction':
        globals()[_name] = Registry(_parent.name, parent=_parent, scope='pan_mm')
