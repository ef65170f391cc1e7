"""Replacing and counting data that cannot be read."""

from collections.abc import Iterator
from typing import Any, Optional

from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pan_mm.utils.errors import DataError, listed

IN_A_ROW = 50  # this many failures in a row are not due to single files


class WatchedPipeline:
    """Runs a pipeline; where the data are bad, it returns None.

    MMEngine's ``BaseDataset`` then takes another sample. What happened travels with the next good
    one, in its metainfo ``data_faults``, beside the path ``read_from``: so it reaches the main
    process from any kind of worker.
    """

    def __init__(self, pipeline: Any, max_faults: int) -> None:
        self.pipeline = pipeline
        self.max_faults = max_faults
        self.skipped: dict = {}  # path: what was wrong with it
        self.in_a_row = 0
        self.unsent: list = []

    @property
    def transforms(self) -> list:
        """Transforms of the pipeline; MMAction2's ``RepeatAugDataset`` calls them, unwatched."""
        return self.pipeline.transforms

    def __call__(self, data: dict) -> Optional[Any]:
        """Run the pipeline; return None where it fails."""
        path = data_path(data)
        try:
            sample = self.pipeline(data)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # of whatever library reads the data
            self._skip(path, str(error) or type(error).__name__)
            return None
        self.in_a_row = 0
        if isinstance(sample, dict) and 'data_samples' in sample:
            sample['data_samples'].set_metainfo(dict(read_from=path, data_faults=self.unsent))
            self.unsent = []
        return sample

    def _skip(self, path, message):
        self.skipped[path] = message if path in message else f'{path}: {message}'
        self.unsent.append((path, self.skipped[path]))
        self.in_a_row += 1
        _check_number(self.skipped, self.max_faults)
        if self.in_a_row == IN_A_ROW:
            raise DataError(
                f'{IN_A_ROW} samples in a row cannot be read; is it the pipeline of the config, or '
                f'the place of the data?{listed(list(self.skipped.values()))}'
            )


def _check_number(skipped: dict, max_faults: int) -> None:
    if len(skipped) > max_faults:
        raise DataError(
            f'{len(skipped)} files cannot be read, more than max_faults={max_faults} of '
            f'DataFaultHook:{listed(list(skipped.values()))}'
        )


def data_path(data: dict) -> str:
    """Name the file or folder that a sample is read from, or was."""
    named = data.get('read_from') or data.get('filename') or data.get('frame_dir')
    return str(named or f'sample {data.get("sample_idx")}')


def samples_of(data_batch: Any) -> list:
    """List the data samples of a batch from a DataLoader, none where it holds none."""
    return list(data_batch.get('data_samples', ())) if isinstance(data_batch, dict) else []


def _leaves(dataset: Any) -> Iterator:
    """Yield the datasets with a pipeline of their own inside wrappers such as RepeatDataset."""
    inner = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inner is None:
        yield dataset
    for each in inner if isinstance(inner, list) else filter(None, [inner]):
        yield from _leaves(each)


@HOOKS.register_module()
class DataFaultHook(Hook):
    """Replaces and counts bad files in training.

    A sample whose pipeline fails is replaced by another one, drawn at random. Each bad file is
    logged once, and more than ``max_faults`` of them stop the training. Validation and test, whose
    results are to be complete, stop at the first.

    It works with the epoch-based loop; an iteration-based one starts its workers before any hook.

    Args:
        max_faults (int): Bad files that a training may skip. 0 stops at the first. Defaults to
            100.
        timeout (float): Seconds to wait for a batch of data workers, after which PyTorch raises
            its own error. Defaults to 600.

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
        for leaf in _leaves(runner.train_dataloader.dataset) if self.max_faults else ():
            if not isinstance(leaf.pipeline, WatchedPipeline):
                leaf.pipeline = WatchedPipeline(leaf.pipeline, self.max_faults)

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Bound the wait for data workers, also in validation and test."""
        dataloader = getattr(runner, f'{mode}_dataloader')
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

    def _log(self, runner, faults):
        for path, message in faults:
            if path not in self.skipped:
                self.skipped[path] = message
                runner.logger.warning(f'Data fault {len(self.skipped)}, skipped: {message}')
        _check_number(self.skipped, self.max_faults)
