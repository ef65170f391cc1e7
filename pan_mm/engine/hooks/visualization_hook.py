"""PA maps and VAP's weights in the log of a training."""

from typing import Optional

from mmaction.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pan_mm.utils.modules import unwrapped


@HOOKS.register_module()
class PANVisualizationHook(Hook):
    """Sends pictures of the first clip of a batch to every visualizer backend.

    It costs one forward pass of one clip each time. Nothing is logged of what the model lacks:
    PA maps for the RGB stream, weights for a head without VAP.

    Args:
        interval (int): Training iterations between pictures. Defaults to 500.

    Raises:
        ValueError: If ``interval`` is below 1; while training, if the model has no ``PANBackbone``.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 500) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1 iteration, got {interval}')
        self.interval = interval

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Log if ``interval`` iterations have passed."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        from pan_mm.visualization import inspect_clip, paint_maps, tile, weights_chart

        model = unwrapped(runner.model)
        seen = inspect_clip(model, data_batch['inputs'][0])
        step = runner.iter + 1
        if seen.pa_maps is not None:
            rows = [list(seen.frames[:, 0])]
            rows += [list(maps) for maps in paint_maps(seen.pa_maps).swapaxes(0, 1)]
            names = ['frame', *(f'PA {i + 1}' for i in range(len(rows) - 1))]
            # No slash in names: the local backend would write into a missing folder.
            runner.visualizer.add_image('pa_maps', tile(rows, names, width=112), step)
        if seen.vap_weights is not None:
            runner.visualizer.add_image('vap_weights', weights_chart(seen.vap_weights), step)
