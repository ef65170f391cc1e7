from .optim_constructor import PANOptimWrapperConstructor
from .preflight import preflight
from .runner import CheckedRunner
from .upstream import upstream_tool
from .visualization_hook import PANVisualizationHook

__all__ = [
    'CheckedRunner',
    'PANOptimWrapperConstructor',
    'PANVisualizationHook',
    'preflight',
    'upstream_tool',
]
