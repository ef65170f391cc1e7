"""Table of finished runs and the scores that they left.

``results/runs.csv`` has one row per run. ``results/scores/DATASET.npz`` holds, for each split, the
names and labels of the test clips and, where known, their scenes, and for each run the logits of
these clips, forwards and, where they were tested, backwards. Both files are rewritten as a whole,
so that neither is ever half new.
"""

import fcntl
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from mmaction.evaluation import mean_class_accuracy

from pan_mm.utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'results'
METRICS = ('top1', 'top5', 'mean_class')
SIZE = re.compile(r'\.pipeline\.\d+\.(scale|input_size|crop_size)\b')
LENGTH = re.compile(r'^train_cfg\.max_epochs$|^param_scheduler\.\d+\.(T_max|end)$')


def accuracies(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Top-1, top-5 and mean class accuracy of single-label scores, in percent.

    Among equal scores the lower label comes first in all three; MMAction2's ``AccMetric``, which
    otherwise counts the same, breaks ties in top-1 and in the mean in two ways.

    Args:
        scores (np.ndarray): Shape (N, num_classes).
        labels (np.ndarray): Int, shape (N,).

    Returns:
        dict[str, float]: ``top1``, ``top5``, ``mean_class``.
    """
    hits = np.argsort(-scores, axis=1, kind='stable')[:, :5] == labels[:, None]
    shares = hits[:, 0].mean(), hits.any(1).mean(), mean_class_accuracy(list(scores), list(labels))
    return {k: 100 * float(v) for k, v in zip(('top1', 'top5', 'mean_class'), shares)}


class RunError(ValueError):
    """A run is not finished, or its record contradicts itself."""


@dataclass(frozen=True)
class Run:
    """One finished run, or the fused streams of several.

    Attributes:
        info (dict): Its row in the table, see ``results/README.md``; ``changes`` is a dict.
        clips (np.ndarray): Names of the test clips, shape (N,).
        labels (np.ndarray): Their labels, int, shape (N,).
        scores (np.ndarray): Their logits, shape (N, num_classes).
        backwards (np.ndarray, optional): Logits of the same clips played backwards.
        scenes (np.ndarray, optional): Numbers of the scenes of the clips, int, shape (N,).
    """

    info: dict
    clips: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    backwards: Optional[np.ndarray] = field(default=None, repr=False)
    scenes: Optional[np.ndarray] = field(default=None, repr=False)

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


@functools.cache
def find_config(name: str) -> Path:
    """Find a config of this repository, in ``configs`` or ``projects``, by its name.

    Raises:
        RunError: If there is none.
    """
    for folder in ('configs', 'projects'):
        for path in (ROOT / folder).rglob(f'{name}.py'):
            return path
    raise RunError(f'this repository has no config {name}.py')


def without_scale(changes: dict) -> dict:
    """Leave out changes of the frames' size and of the number of epochs."""
    epochs = changes.get('train_cfg.max_epochs')
    return {
        key: value
        for key, value in changes.items()
        if not SIZE.search(key) and not (LENGTH.search(key) and value == epochs)
    }


def short_name(changes: dict) -> str:
    """Name changed settings in a few words and four digits of a hash."""
    words = sorted({f'{key.rpartition(".")[2]}-{value}' for key, value in changes.items()})
    text = re.sub(r'[^\w.-]+', '', '_'.join(words))[:24].rstrip('._-')
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()
    return f'{text}-{digest[:4]}'


def run_name(info: dict) -> str:
    """Name a run by its config without the dataset, what was changed, and the seed."""
    changes = info['changes']
    parts = [info['config'].rpartition('_')[0]]
    if info['split'] != 'test':
        parts.append(info['split'])
    if any(map(SIZE.search, changes)):
        parts.append(f'{info["pixels"]}px')
    if 'train_cfg.max_epochs' in changes:
        parts.append(f'{info["epochs"]}e')
    if kept := without_scale(changes):
        parts.append(short_name(kept))
    return '_'.join([*parts, f'seed{info["seed"]}'])


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


def read_table(results: Path = RESULTS) -> pd.DataFrame:
    """Read ``runs.csv``; ``changes`` stays JSON."""
    types = dict(score_digits='Int64', threads='Int64', sha256=str, config_hash=str)
    return pd.read_csv(results / 'runs.csv', dtype=types)


def read_runs(results: Path = RESULTS) -> list:
    """Read all runs.

    Raises:
        RunError: If the table does not have the accuracy of the scores.
        KeyError: If the scores of a run are missing.
    """
    runs = []
    for dataset, rows in read_table(results).groupby('dataset', sort=False):
        arrays = _read_arrays(results, dataset)
        for _, row in rows.iterrows():
            info = {key: None if pd.isna(value) else value for key, value in row.items()}
            runs.append(_run(dict(info, changes=json.loads(info['changes'])), arrays))
    return runs


def _read_arrays(results, dataset):
    with np.load(results / 'scores' / f'{dataset}.npz') as file:
        return dict(file)


def _run(info, arrays):
    backwards = arrays.get(f'backwards/{info["run"]}')
    run = Run(
        info,
        arrays[f'clips/{info["split"]}'],
        arrays[f'labels/{info["split"]}'].astype(int),
        arrays[f'scores/{info["run"]}'].astype(float),
        None if backwards is None else backwards.astype(float),
        arrays.get(f'scenes/{info["split"]}'),
    )
    if any(round(run.accuracies[key], 2) != info[key] for key in METRICS):
        raise RunError(f'{info["run"]}: the table does not have the accuracy of the scores')
    return run


def add_run(run: Run, results: Path = RESULTS) -> None:
    """Add a run to the table and to the scores of its dataset, or replace it.

    Args:
        run (Run): With scores as the test dumped them.
        results (Path): Folder with ``runs.csv`` and ``scores``, which are made where missing.

    Raises:
        RunError: If the run was tested on other clips than the runs of its split, or its accuracy
            is not its scores'.
        OSError: If a file cannot be written.
    """
    (results / 'scores').mkdir(parents=True, exist_ok=True)
    info = run.info
    name, split, dataset = (info[key] for key in ('run', 'split', 'dataset'))
    path = results / 'scores' / f'{dataset}.npz'
    with _locked(results):
        arrays = _read_arrays(results, dataset) if path.is_file() else {}
        arrays.pop(f'backwards/{name}', None)
        arrays[f'scores/{name}'] = compact(run.scores)
        if run.backwards is not None:
            arrays[f'backwards/{name}'] = compact(run.backwards)
        if run.scenes is not None:
            arrays[f'scenes/{split}'] = run.scenes
        for key, own in (('clips', run.clips), ('labels', run.labels)):
            if not np.array_equal(arrays.setdefault(f'{key}/{split}', own), own):
                raise RunError(f'{name}: other clips were tested than in the runs of {split}')
        _run(info, arrays)
        table = _with_row(info, results)
        with atomic_write(path) as part:
            np.savez_compressed(part, **dict(sorted(arrays.items())))
        with atomic_write(results / 'runs.csv') as part:
            table.to_csv(part, index=False)


def _with_row(info, results):
    row = pd.DataFrame([dict(info, changes=json.dumps(info['changes']))])
    if not (results / 'runs.csv').is_file():
        return row
    table = read_table(results)
    same = (table['dataset'] == info['dataset']) & (table['run'] == info['run'])
    return pd.concat([table[~same], row]).sort_values(['dataset', 'run'])


@contextmanager
def _locked(results) -> Iterator[None]:
    """Let one process at a time change the files."""
    folder = os.open(results / 'scores', os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
