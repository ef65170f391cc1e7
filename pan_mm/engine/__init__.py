from .channels_last_hook import ChannelsLastHook
from .checkpoint_hook import SafeCheckpointHook
from .data_fault_hook import DataFaultHook
from .epoch_seed_hook import EpochSeedHook
from .invalid_loss_hook import InvalidLossHook
from .optim_constructor import PANOptimWrapperConstructor
from .preflight import preflight
from .runner import CheckedRunner
from .upstream import upstream_tool
from .visualization_hook import PANVisualizationHook

__all__ = [
    'ChannelsLastHook',
    'CheckedRunner',
    'DataFaultHook',
    'EpochSeedHook',
    'InvalidLossHook',
    'PANOptimWrapperConstructor',
    'PANVisualizationHook',
    'SafeCheckpointHook',
    'preflight',
    'upstream_tool',
]
