"""Skipping and counting data that cannot be read."""

from typing import Any, Optional

from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pan_mm.datasets.checks.faults import being_read, check_number, samples_of, watch
from pan_mm.utils.errors import DataError


@HOOKS.register_module()
class DataFaultHook(Hook):
    """Skips and counts bad files in training.

    - In training, a sample whose pipeline fails is replaced by another one, drawn at random. Each
      bad file is logged once, and more than ``max_faults`` of them stop it.
    - In validation and test the first fault stops: the results are complete.
    - A data worker that hangs for ``timeout`` seconds or dies stops either of them. Under
      ``CheckedRunner`` the error names the file that it was at.

    It works with the epoch-based loop; an iteration-based one starts its workers before any hook.

    Args:
        max_faults (int): Bad files that a training may skip. 0 stops at the first. Defaults to
            100.
        timeout (float): Seconds to wait for a batch of data workers. Defaults to 600.

    Raises:
        DataError: Naming the files, if there are too many.
    """

    def __init__(self, max_faults: int = 100, timeout: float = 600) -> None:
        self.max_faults = max_faults
        self.timeout = timeout
        self.skipped: dict = {}  # path: message, of all processes from the end of each epoch
        self._unshared: list = []

    def before_train(self, runner: Runner) -> None:
        """Watch the training data."""
        self._watch(runner.train_dataloader, self.max_faults)

    def before_val(self, runner: Runner) -> None:
        """Watch the validation data."""
        self._watch(runner.val_dataloader, 0)

    def before_test(self, runner: Runner) -> None:
        """Watch the test data."""
        self._watch(runner.test_dataloader, 0)

    def _watch(self, dataloader: DataLoader, max_faults: int) -> None:
        watch(dataloader.dataset, max_faults, dataloader.num_workers)
        if dataloader.num_workers and not dataloader.timeout:
            dataloader.timeout = self.timeout

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Log the faults that came with a batch."""
        for sample in samples_of(data_batch):
            faults = getattr(sample, 'data_faults', ())
            self._log(runner, faults)
            self._unshared += faults

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the faults that other processes met."""
        unshared, self._unshared = self._unshared, []
        for faults in all_gather_object(unshared):
            self._log(runner, faults)

    def after_train(self, runner: Runner) -> None:
        """Say how many faults there were."""
        if self.skipped:
            runner.logger.warning(
                f'{len(self.skipped)} files could not be read; other samples took their place: '
                f'{", ".join(list(self.skipped)[:10])}{", …" if len(self.skipped) > 10 else ""}'
            )

    def _log(self, runner, faults):
        for path, message in faults:
            if path not in self.skipped:
                self.skipped[path] = message
                runner.logger.warning(f'Data fault {len(self.skipped)}, skipped: {message}')
        check_number(self.skipped, self.max_faults)

    def explain(self, error: RuntimeError, runner: Runner) -> Optional[DataError]:
        """The error that names the files of data workers that died or hang, if that is it."""
        if not str(error).startswith('DataLoader '):
            return None
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        loaders = [loop.dataloader for loop in loops if hasattr(loop, 'dataloader')]
        paths = [path for loader in loaders for path in being_read(loader.dataset)]
        named = ', '.join(paths) or 'no file that is known'
        return DataError(
            f'{error}\nThe data workers were at: {named}. Take the one at fault from the '
            'annotation file, then continue with --resume'
        )
