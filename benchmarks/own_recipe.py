#!/usr/bin/env python3
"""Compare models for own videos on small draws of three datasets, and test each once.

    python -m benchmarks.own_recipe data --work-dirs work_dirs/own_recipe --plan
    python -m benchmarks.own_recipe data --work-dirs work_dirs/own_recipe

``data`` holds egogest11, utd_mhad_depth27 and jhmdb21. benchmarks/own_recipe.yaml lists the runs.
Each draw gets a folder of lists, as tools/data/build_list.py writes them, and its models are
trained as ``python -m pan_mm compare`` does, one after the other on one thread. Started again, the
script continues where it stopped.

A draw takes five classes of a dataset, and splits its clips by scene, subject or film into
training, validation and test: in draw 1 the classes are those that differ in time order or
side, in draw 2 they are drawn from the others. Settings are chosen on validation clips. Nothing is
flipped. The budget of a run is processor time.

Writes to ``--out``: own_recipe.csv, a row for each run, and scores.npz, as RUN/scores and so on,
names, groups, labels and scores of its clips.
"""

import json
import math
import os
import platform
import random
import re
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd
import torch
import yaml
from mmengine.config import Config

from benchmarks.timing import new_parser
from pan_mm.datasets.file_lists import Video, write_lines
from pan_mm.engine.comparison import Comparison
from pan_mm.inference.scores import load_scores, scores_and_labels
from pan_mm.utils.environment import processor_name
from pan_mm.utils.files import atomic_write, write_text

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix('.yaml')
DATASETS = ('egogest11', 'utd_mhad_depth27', 'jhmdb21')
CLASSES, SEED, PIXELS = 5, 41, 64
LIMITS = dict(ten=10, all=40)  # training clips of a class
LONG = 1800  # seconds of a budget, above which the frames are as large as it allows
OVERHEAD = 45  # seconds of a run beside the training: its start, the test
IN_ORDER = dict(  # classes that differ in time order or side
    egogest11=[0, 1, 2, 3, 4],  # swipes to four sides, circle
    utd_mhad_depth27=[0, 1, 8, 9, 10],  # swipes to two sides, circles in both directions, triangle
    jhmdb21=[1, 7, 15, 16, 18],  # catch, pick, sit, stand, throw
)
NO_GESTURE = 10  # of egogest11: recognized by its scenes, which no other class has


class Clip(NamedTuple):
    """A video, its class in the dataset, and its group (scene, subject), left out as a whole."""

    path: str
    label: int
    group: str


class Run(NamedTuple):
    """A training and its test."""

    dataset: str
    setting: str
    draw: int
    model: str
    budget: int

    @property
    def draw_name(self) -> str:
        return f'{self.dataset}_{self.setting}_draw{self.draw}'

    @property
    def name(self) -> str:
        return f'{self.draw_name}_{self.model}_{self.budget}s'


def read_clips(path: Path) -> dict:
    """Labels by video of a list with lines ``video label``."""
    lines = (line.rsplit(maxsplit=1) for line in path.read_text(encoding='utf-8').splitlines())
    return {video: int(label) for video, label in lines}


def split_jhmdb(root: Path, draw: int) -> dict:
    """Split by film: the lists of one split, its training clips divided by the next one's."""
    names = f'train{draw}', f'test{draw}', f'test{draw + 1}'
    train, test, next_test = (read_clips(root / f'annotations/{name}.txt') for name in names)
    parts = dict(train=[], val=[], test=[Clip(v, label, '') for v, label in test.items()])
    for video, label in train.items():
        parts['val' if video in next_test else 'train'].append(Clip(video, label, ''))
    return parts


def split_utd_mhad(root: Path, draw: int) -> dict:
    """Split by subject: three for the test, another one for validation; none is in both tests."""
    subjects = random.Random(SEED).sample(range(1, 9), 8)
    own = subjects[4 * (draw - 1) : 4 * draw]
    parts = dict(train=[], val=[], test=[])
    lists = [read_clips(root / f'annotations/{name}.txt') for name in ('train', 'test')]
    for video, label in sorted({**lists[0], **lists[1]}.items()):
        subject = int(re.search(r'_s(\d+)_', video)[1])
        part = 'train' if subject not in own else 'val' if subject == own[3] else 'test'
        parts[part].append(Clip(video, label, f'subject {subject}'))
    return parts


def split_egogest(root: Path, draw: int) -> dict:
    """Split by scene: a fold for the test, in which homes stay together; see `hold_out_scenes`."""
    scenes = pd.read_csv(root / 'scenes.csv', dtype=str).set_index('video')['scene']
    parts = dict(train=[], val=[], test=[])
    for part in ('train', 'test'):
        for video, label in sorted(read_clips(root / f'fold{draw}_{part}.txt').items()):
            if label != NO_GESTURE:
                parts[part].append(Clip(video, label, scenes[video]))
    return parts


def hold_out_scenes(train: list, rng: random.Random) -> tuple:
    """Training and validation clips: some ten of scenes without which each class has ten."""
    scenes = sorted({clip.group for clip in train})
    rng.shuffle(scenes)
    val = []
    for scene in scenes:
        rest = [clip for clip in train if clip.group != scene]
        if len(val) < 2 * CLASSES and min(Counter(c.label for c in rest).values()) >= 10:
            val += [clip for clip in train if clip.group == scene]
            train = rest
    return train, val


SPLITS = dict(zip(DATASETS, (split_egogest, split_utd_mhad, split_jhmdb)))


def draw_clips(root: Path, run: Run) -> tuple:
    """Names of the five classes, and the clips of each part, whose labels count from 0."""
    parts = SPLITS[run.dataset](root / run.dataset, run.draw)
    counts = Counter(clip.label for clip in parts['train'])
    chosen = IN_ORDER[run.dataset]
    if run.draw > 1:
        others = [label for label in sorted(counts) if counts[label] >= 12 and label not in chosen]
        chosen = sorted(random.Random(SEED).sample(others, CLASSES))
    parts = {
        part: [c._replace(label=chosen.index(c.label)) for c in clips if c.label in chosen]
        for part, clips in parts.items()
    }
    rng = random.Random(SEED + run.draw)
    if not parts['val']:
        parts['train'], parts['val'] = hold_out_scenes(parts['train'], rng)
    train = []
    for label in range(CLASSES):
        own = [clip for clip in parts['train'] if clip.label == label]
        train += rng.sample(own, min(LIMITS[run.setting], len(own)))
    names = (root / run.dataset / 'label_map.txt').read_text(encoding='utf-8').splitlines()
    return [names[label] for label in chosen], {**parts, 'train': train}


def runs_of(stage: dict) -> list:
    """Runs of a stage of the list, in order."""
    return [
        Run(dataset, stage['setting'], draw, model, stage['budget'])
        for draw in stage['draws']
        for model in stage['models']
        for dataset in DATASETS
    ]


def write_draw(folder: Path, data: Path, run: Run) -> dict:
    """Write the lists of a draw, and a link to its videos; returns the clips of each part."""
    classes, parts = draw_clips(data, run)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / 'videos').is_symlink():
        (folder / 'videos').symlink_to(data / run.dataset / 'videos')
    lists = dict(train=parts['train'], val=parts['val'], tested=sum(parts.values(), []))
    for name, clips in lists.items():
        paths = (Path('videos', clip.path.removeprefix('videos/')).as_posix() for clip in clips)
        lines = [Video(path, clip.label).to_line() for path, clip in zip(paths, clips)]
        write_lines(folder / f'{name}.txt', lines)
    write_lines(folder / 'label_map.txt', classes)
    return parts


class Bench:
    """Work on the list in one output folder.

    Args:
        data (Path): Folder of the datasets.
        out (Path): Folder for the rows and the scores.
        work_dirs (Path): Gets folders of lists and of comparisons.
    """

    def __init__(self, data: Path, out: Path, work_dirs: Path) -> None:
        self.data, self.out, self.work_dirs = data.resolve(), out.resolve(), work_dirs.resolve()
        self.runs = [
            run for stage in yaml.safe_load(LIST.read_text('utf-8')) for run in runs_of(stage)
        ]

    @property
    def rows(self) -> list:
        """Rows of the runs that are finished."""
        path = self.out / 'own_recipe.csv'
        if not path.exists():
            return []
        return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict('records')

    @property
    def left(self) -> list:
        """Runs that are not finished, in order."""
        done = {row['run'] for row in self.rows}
        return [run for run in self.runs if run.name not in done]

    def print_plan(self) -> None:
        """Print the runs that are left, and their hours."""
        hours = 0
        for run in self.left:
            print(f'{run.name:64} from hour {hours:.1f}')
            hours += (run.budget + OVERHEAD) / 3600
        print(f'{hours:.1f} hours of one core are left', flush=True)

    def do(self, run: Run) -> None:
        """Train a model, test it once, and add its row and scores."""
        folder = self.work_dirs / run.draw_name
        parts = write_draw(folder, self.data, run)
        out = self.work_dirs / f'{run.draw_name}_{run.budget}s'
        size = None if run.budget > LONG else PIXELS
        comparison = Comparison(folder, out, run.budget / 60, size, run.draw, flip=False)
        (trained,) = comparison.run([run.model])
        config, work_dir = out / f'{run.model}.py', out / run.model
        checkpoint = work_dir / Path((work_dir / 'last_checkpoint').read_text('utf-8')).name
        words = ['tool', 'test', config, checkpoint, '--work-dir', work_dir / 'test']
        words += ['--dump', work_dir / 'scores.pkl']
        words += ['--cfg-options', 'test_dataloader.dataset.ann_file=tested.txt']
        subprocess.run([sys.executable, '-m', 'pan_mm', *map(str, words)], check=True)
        samples = load_scores(work_dir / 'scores.pkl')
        row = dict(
            run=run.name,
            **run._asdict(),
            **settings_of(Config.fromfile(config)),
            steps=trained['steps'],
            core_seconds=trained['minutes'] and 60 * float(trained['minutes']),
            resumed=trained['minutes'] == '',
            train_loss=trained['loss'],
            ln_classes=round(math.log(CLASSES), 3),
            **self.add_scores(run, *scores_and_labels(samples), parts),
            seed=run.draw,
            **environment(),
            command=trained['command'].replace(str(self.work_dirs), 'work_dirs/own_recipe'),
        )
        self.add_row(row)
        for path in work_dir.glob('*.pth'):
            path.unlink()
        print(json.dumps(row), flush=True)

    def add_scores(self, run: Run, scores: np.ndarray, labels: np.ndarray, parts: dict) -> dict:
        """Add the scores of the clips of all parts; returns the accuracy of each part."""
        clips = sum(parts.values(), [])
        if [clip.label for clip in clips] != labels.tolist():
            raise ValueError(f'{run.name}: the scores have the labels of other clips')
        part = np.repeat(list(parts), [len(own) for own in parts.values()])
        arrays = dict(scores=scores, label=labels, part=part)
        arrays.update(name=[clip.path for clip in clips], group=[clip.group for clip in clips])
        path = self.out / 'scores.npz'
        known = dict(np.load(path)) if path.exists() else {}
        known.update({f'{run.name}/{key}': np.asarray(array) for key, array in arrays.items()})
        with atomic_write(path) as new:
            np.savez_compressed(new, **known)
        right, found = scores.argmax(1) == labels, {}
        for key, own_clips in parts.items():
            own = part == key
            hits = [right[own & (labels == label)] for label in range(CLASSES)]
            found[f'{key}_clips'] = len(own_clips)
            found[f'{key}_accuracy'] = round(100 * right[own].mean(), 1)
            found[f'{key}_right'] = ' '.join(f'{each.sum()}/{len(each)}' for each in hits)
            found[f'{key}_groups'] = len({clip.group for clip in own_clips if clip.group}) or ''
        return found

    def add_row(self, row: dict) -> None:
        """Add a row to the table."""
        table = pd.DataFrame([*self.rows, row])
        write_text(self.out / 'own_recipe.csv', table.to_csv(index=False))


def settings_of(cfg: Config) -> dict:
    """Settings of a training that a row shows."""
    network = str(cfg.model.backbone)
    from_imagenet = 'EfficientNet-Lite0 from ImageNet'
    return dict(
        backbone=from_imagenet if 'Lite0' in network else 'ResNet-18 from scratch',
        pixels=cfg.size,
        batch=cfg.train_dataloader.batch_size,
        learning_rate=cfg.optim_wrapper.optimizer.lr,
        dtype=cfg.optim_wrapper.get('dtype', 'float32'),
        epochs=cfg.train_cfg.max_epochs,
        classes=';'.join(cfg.classes),
    )


def environment() -> dict:
    """Processor, and versions of what computes."""
    commit = ['git', 'rev-parse', '--short=12', 'HEAD']
    done = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True, check=True)
    versions = [f'python {platform.python_version()}']
    versions += [f'{name} {metadata.version(name)}' for name in ('torch', 'mmaction2', 'timm')]
    return dict(device=processor_name(), versions=', '.join(versions), commit=done.stdout.strip())


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__, device=False)
    parser.add_argument('data', type=Path, help='folder of the three datasets')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/own_recipe')
    parser.add_argument('--work-dirs', type=Path, required=True, help='folder of the trainings')
    parser.add_argument('--plan', action='store_true', help='print order and hours, train nothing')
    args = parser.parse_args(argv)
    bench = Bench(args.data, args.out, args.work_dirs)
    bench.print_plan()
    if args.plan:
        return
    os.environ['OMP_NUM_THREADS'] = '1'  # of the trainings and tests
    torch.set_num_threads(1)  # when a step is measured
    for run in bench.left:
        bench.do(run)


if __name__ == '__main__':
    main()
