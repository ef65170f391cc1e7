"""A pipeline that can live with bad data and knows what each data worker is reading."""

from collections.abc import Iterator
from typing import Any, Optional

import torch
from torch.utils.data import get_worker_info

from pan_mm.utils.errors import DataError, listed

IN_A_ROW = 50  # this many failures in a row are not due to single files


class WatchedPipeline:
    """Runs a pipeline; where the data are bad, MMEngine's dataset takes another sample.

    For that it returns None, as ``BaseDataset`` expects of a pipeline that fails in training. What
    happened travels with the next good sample, in its metainfo ``data_faults``, beside the path
    ``read_from``: so it reaches the main process from any kind of worker.

    Args:
        pipeline (Callable): The dataset's pipeline.
        max_faults (int): Files that may be bad. With 0 every fault is raised.
        num_workers (int): Workers of the DataLoader.

    Raises:
        DataError: From :meth:`__call__`, if more than ``max_faults`` files are bad, or
            ``IN_A_ROW`` samples one after the other.
    """

    def __init__(self, pipeline: Any, max_faults: int = 0, num_workers: int = 0) -> None:
        self.pipeline = pipeline
        self.max_faults = max_faults
        # Sample index that each worker is loading, -1 while idle; shared between processes.
        self.reading = torch.full((max(num_workers, 1),), -1).share_memory_()
        self.skipped: dict = {}  # path: what was wrong with it
        self.in_a_row = 0
        self.unsent: list = []

    @property
    def transforms(self) -> list:
        """Transforms of the pipeline; MMAction2's ``RepeatAugDataset`` calls them, unwatched."""
        return self.pipeline.transforms

    def __call__(self, data: dict) -> Optional[Any]:
        """Run the pipeline; return None where it fails."""
        worker = get_worker_info()
        slot = worker.id if worker else 0
        path = data_path(data)
        self.reading[slot] = data.get('sample_idx', -1)
        try:
            sample = self.pipeline(data)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            if not self.max_faults:
                raise
            self._skip(path, error)
            return None
        finally:
            self.reading[slot] = -1
        self.in_a_row = 0
        if self.max_faults and isinstance(sample, dict) and 'data_samples' in sample:
            sample['data_samples'].set_metainfo(dict(read_from=path, data_faults=self.unsent))
            self.unsent = []
        return sample

    def _skip(self, path, error):
        message = str(error) or type(error).__name__
        self.skipped[path] = message if path in message else f'{path}: {message}'
        self.unsent.append((path, self.skipped[path]))
        self.in_a_row += 1
        check_number(self.skipped, self.max_faults)
        if self.in_a_row == IN_A_ROW:
            raise DataError(
                f'{IN_A_ROW} samples in a row cannot be read; is it the pipeline of the config, or '
                f'the place of the data?{listed(list(self.skipped.values()))}'
            ) from error


def check_number(skipped: dict, max_faults: int) -> None:
    """Refuse more bad files than are allowed.

    Raises:
        DataError: Names ten of them at most.
    """
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


def leaf_datasets(dataset: Any) -> Iterator:
    """Yield the datasets with a pipeline of their own inside wrappers such as RepeatDataset."""
    if hasattr(dataset, 'datasets'):
        for each in dataset.datasets:
            yield from leaf_datasets(each)
    elif hasattr(dataset, 'dataset'):
        yield from leaf_datasets(dataset.dataset)
    else:
        yield dataset


def watch(dataset: Any, max_faults: int, num_workers: int) -> None:
    """Put a :class:`WatchedPipeline` into each leaf of ``dataset``, unless it is there."""
    for leaf in leaf_datasets(dataset):
        pipeline = getattr(leaf, 'pipeline', None)
        if pipeline is not None and not isinstance(pipeline, WatchedPipeline):
            leaf.pipeline = WatchedPipeline(pipeline, max_faults, num_workers)


def being_read(dataset: Any) -> list:
    """List the paths of the samples that the workers are at."""
    return [
        data_path(leaf.get_data_info(index))
        for leaf in leaf_datasets(dataset)
        if isinstance(getattr(leaf, 'pipeline', None), WatchedPipeline)
        for index in leaf.pipeline.reading.tolist()
        if index >= 0
    ]
