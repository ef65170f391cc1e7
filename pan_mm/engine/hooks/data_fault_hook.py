"""Skipping and counting data that cannot be read."""

import functools
from typing import Any, Optional

from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from pan_mm.datasets.checks.faults import ReadableBatches, being_read, samples_of, too_many, watch
from pan_mm.utils.errors import DataError


@HOOKS.register_module()
class DataFaultHook(Hook):
    """Skips and counts bad files in training; in validation and test only if it is asked to.

    - In training, a sample whose pipeline fails is replaced by another one, drawn at random. Each
      bad file is logged once, the end of the training says how many there were, and more than
      ``max_faults`` of them stop it.
    - In validation and test the first fault stops, and names the clip: the results are complete.
      With ``max_test_faults``, that many clips may be left out of them; each is logged, and the
      number of them stands as ``left_out`` beside the accuracies. Only in one process: of
      several, MMEngine would count clips twice.
    - A data worker that hangs for ``timeout`` seconds or dies stops either of them. Under
      ``CheckedRunner`` the error names the file that it was at.

    It works with the epoch-based loop; an iteration-based one starts its workers before any hook.

    Args:
        max_faults (int): Bad files that a training may skip. 0 stops at the first. Defaults to
            100.
        timeout (float): Seconds to wait for a batch of data workers. Defaults to 600.
        max_test_faults (int): Bad clips that a validation or test may leave out. Defaults to 0:
            the first one stops it.

    Raises:
        ValueError: If an argument is out of its range, or clips would be left out of a test by
            several processes.
        DataError: Naming the files, if there are too many, or none of a test can be read.
    """

    def __init__(
        self, max_faults: int = 100, timeout: float = 600, max_test_faults: int = 0
    ) -> None:
        if min(max_faults, max_test_faults) < 0 or timeout <= 0:
            raise ValueError(
                'max_faults and max_test_faults must not be negative and timeout must be '
                f'positive, got {max_faults}, {max_test_faults} and {timeout}'
            )
        self.max_faults = max_faults
        self.max_test_faults = max_test_faults
        self.timeout = timeout
        self.skipped = {}  # path: message, of all processes from the end of each epoch
        self.unreadable = {}  # path: message, of validation and test
        self.left_out = []  # paths of the last validation or test
        self._unshared = []

    def before_train(self, runner: Runner) -> None:
        """Watch the training data."""
        self._watch(runner.train_dataloader, self.max_faults)

    def before_val(self, runner: Runner) -> None:
        """Watch the validation data."""
        self._watch_test(runner, runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        """Watch the test data."""
        self._watch_test(runner, runner.test_loop)

    def _watch(self, dataloader, max_faults, test_mode=False):
        watch(dataloader.dataset, max_faults, dataloader.num_workers, test_mode)
        if dataloader.num_workers and not dataloader.timeout:
            dataloader.timeout = self.timeout

    def _watch_test(self, runner, loop):
        self.left_out = []
        if isinstance(loop.dataloader, ReadableBatches):
            return
        self._watch(loop.dataloader, self.max_test_faults, test_mode=True)
        if not self.max_test_faults:
            return
        if get_world_size() > 1:
            raise ValueError(
                f'max_test_faults={self.max_test_faults} of DataFaultHook works only in one '
                f'process, not in {get_world_size()}: clips that are left out would make others '
                'count twice; test in one process, or take the clips from the annotation file'
            )
        report = functools.partial(self._leave_out, runner)
        loop.dataloader = ReadableBatches(loop.dataloader, report)

    def _leave_out(self, runner, unreadable):
        for path, message in unreadable:
            self.left_out.append(path)
            if path not in self.unreadable:
                self.unreadable[path] = message
                number = len(self.unreadable)
                runner.logger.warning(f'Data fault {number}, left out of the test: {message}')
        if len(self.unreadable) > self.max_test_faults:
            raise too_many(self.unreadable, self.max_test_faults, test_mode=True)

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        """Say how many clips the accuracies lack."""
        self._count_left_out(runner, metrics, 'val')

    def after_test_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        """Say how many clips the accuracies lack."""
        self._count_left_out(runner, metrics, 'test')

    def _count_left_out(self, runner, metrics, split):
        if not self.max_test_faults:
            return
        metrics['left_out'] = len(self.left_out)
        runner.message_hub.update_scalar(f'{split}/left_out', len(self.left_out))
        if self.left_out:
            runner.logger.warning(
                f'{len(self.left_out)} clips could not be read and are left out of these results'
            )

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
        loader = runner.train_dataloader
        seen = not (loader.num_workers and isinstance(runner.train_loop, IterBasedTrainLoop))
        if seen and not self.skipped:
            runner.logger.info('All files that the training asked for could be read')

    def _log(self, runner, faults):
        for path, message in faults:
            if path not in self.skipped:
                self.skipped[path] = message
                runner.logger.warning(f'Data fault {len(self.skipped)}, skipped: {message}')
        if len(self.skipped) > self.max_faults:
            raise too_many(self.skipped, self.max_faults)

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
