from .optim_constructor import PANOptimWrapperConstructor
from .preflight import preflight
from .runner import CheckedRunner
from .upstream import upstream_tool

__all__ = ['CheckedRunner', 'PANOptimWrapperConstructor', 'preflight', 'upstream_tool']
