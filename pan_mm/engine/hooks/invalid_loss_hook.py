"""Stopping at a loss that is not a number."""

from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .data_fault_hook import data_path, samples_of


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stops a training whose loss is NaN or infinite, and names the files of the batch.

    No checkpoint is written after it: the last one is good.

    Raises:
        FloatingPointError: While training, with the loss, the iteration and the files.
    """

    priority = 'VERY_HIGH'  # before a checkpoint is saved

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at the loss of the iteration."""
        # As far as DataFaultHook or meta_keys keep the paths.
        files = [data_path(getattr(s, 'metainfo', {})) for s in samples_of(data_batch)]
        for name, value in (outputs or {}).items():
            if 'loss' in name and not torch.as_tensor(value).isfinite().all():
                raise FloatingPointError(
                    f'{name} is {torch.as_tensor(value).tolist()} in iteration {runner.iter + 1}, '
                    f'epoch {runner.epoch + 1}. Its batch: {", ".join(files)}. Lower the learning '
                    'rate, clip the gradients, or look at these files'
                )
