"""Training in the memory format in which convolutions are fastest."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pan_mm.models.memory_format import backbones, to_channels_last
from pan_mm.utils.modules import unwrapped


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Lays weights and feature maps of the backbones channels-last: the same numbers, faster.

    For training on a processor, of any recognizer with a 2D or 3D backbone. How much faster is
    measured in docs/performance.md. Checkpoints do not change.
    """

    def before_run(self, runner: Runner) -> None:
        """Lay out the model, before its first batch."""
        for backbone in backbones(unwrapped(runner.model)):
            to_channels_last(backbone)
