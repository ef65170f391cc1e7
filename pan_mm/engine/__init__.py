"""Training beyond MMEngine: hooks, checks before it starts, the recipe."""

from .hooks.channels_last_hook import ChannelsLastHook
from .hooks.checkpoint_hook import SafeCheckpointHook
from .hooks.data_fault_hook import DataFaultHook
from .hooks.epoch_seed_hook import EpochSeedHook
from .hooks.invalid_loss_hook import InvalidLossHook
from .hooks.verdict_hook import VerdictHook
from .optim_constructor import PANOptimWrapperConstructor
from .preflight import preflight
from .runner import CheckedRunner
from .upstream import run_tool

__all__ = [
    'ChannelsLastHook',
    'CheckedRunner',
    'DataFaultHook',
    'EpochSeedHook',
    'InvalidLossHook',
    'PANOptimWrapperConstructor',
    'SafeCheckpointHook',
    'VerdictHook',
    'preflight',
    'run_tool',
]
