"""Models trained alike on own videos: the same lists, size of frames and processor time."""

import csv
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from scipy.stats import binomtest

from pan_mm.utils.errors import DataError, PANError
from pan_mm.utils.files import append_text, atomic_write, write_text

from .own_videos import read_own_videos, sided, write_config


class Comparison:
    """Trainings of several models in one folder, which continue where they were stopped.

    Args:
        videos (Path): Folder with the lists of tools/data/build_list.py.
        out (Path): Gets a config and a work dir for each model, and ``compare.csv``.
        minutes (float): Budget of each training, in minutes of one core, or of the GPU.
        size (int, optional): Height and width of all frames. Defaults to the largest within the
            budget of the first model.
        seed (int): Seed of each training.
        flip (bool, optional): Whether a mirror image shows the same class. Defaults to False where
            a class's name speaks of a side.

    Raises:
        DataError: If lists are missing, or ``out`` holds a comparison of other lists or settings.
    """

    def __init__(
        self,
        videos: Path,
        out: Path,
        minutes: float,
        size: Optional[int] = None,
        seed: int = 0,
        flip: Optional[bool] = None,
    ) -> None:
        self.videos, self.out = read_own_videos(videos), out
        self.minutes, self.size, self.seed = minutes, size, seed
        self.flip = not sided(self.videos.classes) if flip is None else flip
        names = ('train.txt', 'val.txt', 'label_map.txt')
        lists = hashlib.sha256(b''.join((videos / name).read_bytes() for name in names))
        about = dict(videos=str(videos.resolve()), lists=lists.hexdigest())
        settings = dict(about, minutes=minutes, size=size, seed=seed, flip=self.flip)
        path = out / 'compare.json'
        before = json.loads(path.read_text(encoding='utf-8')) if path.exists() else settings
        if changed := [key for key, value in settings.items() if before.get(key) != value]:
            raise DataError(
                f'{out} holds a comparison with other {", ".join(changed)}; give another --out'
            )
        out.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=1) + '\n')

    @property
    def rows(self) -> list:
        """Rows of ``compare.csv``: the models that are trained."""
        path = self.out / 'compare.csv'
        if not path.exists():
            return []
        with open(path, newline='', encoding='utf-8') as file:
            return list(csv.DictReader(file))

    def run(self, models: Sequence) -> Iterator[dict]:
        """Train the models that have no row yet; yield the row of each.

        Raises:
            PANError: If a training fails; its log is beside the model's work dir.
        """
        for model in models:
            done = [row for row in self.rows if row['model'] == model]
            yield done[0] if done else self._train(model)

    def _train(self, model):
        config, work_dir = self.out / f'{model}.py', self.out / model
        resumed = (work_dir / 'last_checkpoint').exists() and config.exists()
        if not resumed:
            size = self.size or next((int(row['pixels']) for row in self.rows), None)
            write_config(config, model, self.videos, self.minutes, size, self.flip)
        command = [sys.executable, '-m', 'pan_mm', 'tool', 'train', str(config)]
        command += ['--work-dir', str(work_dir), '--seed', str(self.seed)]
        begun, log = _spent(), self.out / f'{model}.log'
        with append_text(log) as file:
            resume = ['--resume'] if resumed else []
            status = subprocess.run([*command, *resume], stdout=file, stderr=file).returncode
        if status or not (work_dir / 'verdict.json').exists():
            end = log.read_text(encoding='utf-8').rstrip().rpartition('\n')[2]
            raise PANError(f'{model}: the training failed, see {log}, which ends with: {end}')
        # The time of a training that was killed before is not known.
        minutes = '' if resumed else round((_spent() - begun) / 60, 1)
        row = dict(self._row(model), minutes=minutes, command=shlex.join(['python', *command[1:]]))
        rows = [*self.rows, row]
        with atomic_write(self.out / 'compare.csv') as part, open(part, 'w', newline='') as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(rows)
        return row

    def _row(self, model):
        verdict = json.loads((self.out / model / 'verdict.json').read_text(encoding='utf-8'))
        hits, total = (sum(a == b for a, b in verdict['val']), len(verdict['val']))
        low, high = binomtest(hits, total).proportion_ci(method='wilson')
        shares = dict(
            training=verdict['train_accuracy'],
            validation=verdict['val_accuracy'],
            low=low,
            high=high,
        )
        return dict(
            model=model,
            pixels=Config.fromfile(self.out / f'{model}.py').size,
            steps=verdict['iterations'],
            loss=round(verdict['loss'], 3),
            **{name: round(100 * share, 1) for name, share in shares.items()},
            videos=total,
            seed=self.seed,
            verdict=verdict['verdict'],
        )

    def draw(self) -> Path:
        """Draw accuracies on the validation videos with their intervals; returns the PNG file."""
        from matplotlib.figure import Figure

        rows = sorted(self.rows, key=lambda row: float(row['validation']))
        names = [row['model'] for row in rows]
        value, low, high = ([float(r[key]) for r in rows] for key in ('validation', 'low', 'high'))
        figure = Figure(figsize=(7, 1 + 0.45 * len(rows)), layout='constrained')
        axes = figure.subplots()
        axes.hlines(names, low, high, color='#8aa4c8', linewidth=3)
        axes.plot(value, names, 'o', color='#1f4e8c', markersize=8)
        ((_, most),) = Counter(self.videos.labels).most_common(1)
        guess = 100 * most / len(self.videos.labels)
        axes.axvline(guess, color='gray', linestyle=':', label='chance')
        label = f'validation accuracy, % of {rows[0]["videos"]} videos; 95 % intervals'
        axes.set(xlim=(0, 100), xlabel=label)
        axes.legend(frameon=False, loc='lower right')
        path = self.out / 'compare.png'
        with atomic_write(path) as part:
            figure.savefig(part, dpi=150)
        return path


def _spent() -> float:
    """Seconds of processor time of finished child processes; on a GPU, seconds that passed."""
    if torch.cuda.is_available():
        return time.perf_counter()
    times = os.times()
    return times.children_user + times.children_system
