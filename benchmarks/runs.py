#!/usr/bin/env python3
"""Read and extend the table of finished runs and the scores that they left.

    python -m benchmarks.runs    # after configs have changed in form, but not in meaning

The command makes the runs count for their configs as they are now.

``results/runs.csv`` has one row per run. ``results/scores/DATASET.npz`` holds, for each split, the
names and labels of the test clips, and for each run the logits of these clips, forwards and, where
they were tested, backwards. Both files are rewritten as a whole, so that neither is ever half new.
"""

import argparse
import fcntl
import functools
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from pan_mm.inference.score_fusion import accuracies
from pan_mm.utils.files import atomic_write

from .settings import RunError, find_config, settings_of_config, split_name

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'results'
METRICS = ('top1', 'top5', 'mean_class')
VERSIONS = ('python', 'torch', 'mmengine', 'mmaction2', 'mmcv', 'pan_mm')
COLUMNS = (
    'dataset',
    'run',
    'config',
    'changes',
    'train_list',
    'test_list',
    'split',
    'seed',
    'epochs',
    'batch_size',
    'pixels',
    *METRICS,
    'loss',
    'gmacs',
    'params',
    'minutes',
    'device',
    'processor',
    'gpu',
    'threads',
    *VERSIONS,
    'command',
    'sha256',
    'config_hash',
    'score_digits',
)


@dataclass(frozen=True)
class Run:
    """One finished run, or the fused streams of several.

    Attributes:
        info (dict): Its row in the table, see ``results/README.md``; ``changes`` is a dict.
        clips (np.ndarray): Names of the test clips, shape (N,).
        labels (np.ndarray): Their labels, int, shape (N,).
        scores (np.ndarray): Their logits, shape (N, num_classes).
        backwards (np.ndarray, optional): Logits of the same clips played backwards.
    """

    info: dict
    clips: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    backwards: Optional[np.ndarray] = field(default=None, repr=False)

    @property
    def seed(self) -> int:
        return self.info['seed']

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """Recognized clips, bool, shape (N,)."""
        return self.scores.argmax(1) == self.labels

    @functools.cached_property
    def accuracies(self) -> dict:
        """Top-1, top-5 and mean class accuracy in percent."""
        return accuracies(self.scores, self.labels)


def compact(scores: np.ndarray) -> np.ndarray:
    """Round logits to float16 without changing the order of a clip's classes.

    The largest logit of a clip becomes 0, which changes neither softmax nor a mean of several
    networks' answers. Classes that rounding would tie are kept one step of float16 apart.

    Args:
        scores (np.ndarray): Shape (N, num_classes).

    Returns:
        np.ndarray: Float16, of the same shape.
    """
    scores = scores.astype(float)  # in float32 the difference could tie
    scores -= scores.max(1, keepdims=True)
    order = np.argsort(-scores, axis=1, kind='stable')
    exact = np.take_along_axis(scores, order, 1)
    rounded = exact.astype(np.float16)
    for rank in range(1, scores.shape[1]):
        before = rounded[:, rank - 1]
        is_tie = exact[:, rank] == exact[:, rank - 1]
        lower = np.nextafter(before, np.float16(-np.inf))
        rounded[:, rank] = np.where(is_tie, before, np.minimum(rounded[:, rank], lower))
    np.put_along_axis(rounded, order, rounded.copy(), 1)
    return rounded


def read_runs(results: Path = RESULTS) -> tuple:
    """Read all runs.

    Args:
        results (Path): Folder with ``runs.csv`` and ``scores``.

    Returns:
        tuple: ``[Run]``, and a text for each run that is left out because its config, lists,
        scores or checkpoint do not fit.

    Raises:
        OSError: If a file is missing.
        ValueError: If a file is damaged.
    """
    table = read_table(results)
    hashes = Counter(table['sha256'].dropna())
    runs, problems = [], []
    for dataset, rows in table.groupby('dataset', sort=False):
        arrays = _read_arrays(results, dataset)
        for _, row in rows.iterrows():
            try:
                info = _info(row)
                run = _run(info, arrays)
                _check(run)
                if hashes[info['sha256']] > 1:
                    raise RunError('another run has the same checkpoint')
                runs.append(run)
            except (RunError, KeyError) as error:
                problems.append(f'{dataset}, {row["run"]}: {error}')
    return runs, problems


def read_table(results: Path = RESULTS) -> pd.DataFrame:
    """Read ``runs.csv``; ``changes`` stays JSON."""
    whole = dict.fromkeys(('score_digits', 'threads'), 'Int64')
    table = pd.read_csv(results / 'runs.csv', dtype=dict(whole, sha256=str, config_hash=str))
    return table.fillna(dict(train_list='', test_list=''))  # generated clips have no lists


def _info(row):
    info = {key: None if pd.isna(value) else value for key, value in row.items()}
    return dict(info, changes=json.loads(info['changes']))


def _arrays_path(results, dataset):
    return results / 'scores' / f'{dataset}.npz'


def _read_arrays(results, dataset):
    path = _arrays_path(results, dataset)
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return dict(file)


def _run(info, arrays):
    backwards = arrays.get(f'backwards/{info["run"]}')
    return Run(
        info,
        arrays[f'clips/{info["split"]}'],
        arrays[f'labels/{info["split"]}'].astype(int),
        arrays[f'scores/{info["run"]}'].astype(float),
        None if backwards is None else backwards.astype(float),
    )


def _check(run):
    """Refuse a run that its config, its lists or its scores contradict."""
    info = run.info
    _, config_hash, config_lists = settings_of_config(find_config(info['config']))
    if config_hash != info['config_hash']:
        raise RunError(
            f'{info["config"]} is not as it was when this was run ({config_hash}, not '
            f'{info["config_hash"]}); run again, or change the hash where it still means the same'
        )
    if split_name([info['train_list'], info['test_list']], config_lists) != info['split']:
        raise RunError(f'its lists do not belong to the split {info["split"]}')
    if {key: round(run.accuracies[key], 2) for key in METRICS} != {k: info[k] for k in METRICS}:
        raise RunError('the table does not have the accuracy of the scores')
    if len(run.scores) != len(run.clips):
        raise RunError('its scores are not of the clips of its split')


def add_run(run: Run, results: Path = RESULTS) -> None:
    """Add a run to the table and to the scores of its dataset, or replace it.

    Args:
        run (Run): With scores as the test dumped them.
        results (Path): Folder with ``runs.csv`` and ``scores``, which are made where missing.

    Raises:
        RunError: If the run contradicts its config, was tested on other clips than the runs of its
            split, is there with other settings, or shares its checkpoint with another run.
        OSError: If a file cannot be written.
    """
    (results / 'scores').mkdir(parents=True, exist_ok=True)
    info = run.info
    name, split, dataset = (info[key] for key in ('run', 'split', 'dataset'))
    with _locked(results):
        table = pd.DataFrame(columns=COLUMNS)
        if (results / 'runs.csv').is_file():
            table = read_table(results)
        same = (table['dataset'] == dataset) & (table['run'] == name)
        for before in table.loc[same, 'changes']:
            if json.loads(before) != info['changes']:
                raise RunError(f'{name} is there with other settings; remove it first')
        if info['sha256'] in set(table.loc[~same, 'sha256'].dropna()):
            raise RunError('another run has the same checkpoint')
        arrays = _read_arrays(results, dataset)
        arrays.pop(f'backwards/{name}', None)
        arrays[f'scores/{name}'] = compact(run.scores)
        if run.backwards is not None:
            arrays[f'backwards/{name}'] = compact(run.backwards)
        for key, own in (('clips', run.clips), ('labels', run.labels)):
            if not np.array_equal(arrays.setdefault(f'{key}/{split}', own), own):
                raise RunError(f'was tested on other clips than the runs of the split {split}')
        _check(_run(info, arrays))
        row = pd.DataFrame([dict(info, changes=json.dumps(info['changes']))], columns=COLUMNS)
        frames = [frame for frame in (table[~same], row) if len(frame)]
        table = pd.concat(frames).sort_values(['dataset', 'run'])
        with atomic_write(_arrays_path(results, dataset)) as part:
            np.savez_compressed(part, **dict(sorted(arrays.items())))
        _write_table(table, results)


def accept_configs(results: Path = RESULTS) -> None:
    """Renew the hashes of all configs in ``runs.csv``.

    Raises:
        RunError: If a config is gone.
        OSError: If the file cannot be written.
    """
    with _locked(results):
        table = read_table(results)
        table['config_hash'] = [
            settings_of_config(find_config(config))[1] for config in table['config']
        ]
        _write_table(table, results)


def _write_table(table, results):
    with atomic_write(results / 'runs.csv') as part:
        table.to_csv(part, index=False)


@contextmanager
def _locked(results) -> Iterator[None]:
    """Let one process at a time change the files."""
    folder = os.open(results / 'scores', os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    accept_configs()


if __name__ == '__main__':
    main()
