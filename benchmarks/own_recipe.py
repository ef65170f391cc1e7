#!/usr/bin/env python3
"""Train the candidates for own videos on small draws of three datasets, and test each once.

    python -m benchmarks.own_recipe data --work-dirs work_dirs/own_recipe --plan
    python -m benchmarks.own_recipe data --work-dirs work_dirs/own_recipe

``data`` holds egogest11, utd_mhad_depth27 and jhmdb21. benchmarks/own_recipe.yaml lists the runs;
they go one after the other on one thread. Started again, the script continues where it stopped:
a run that was cut off resumes from its last checkpoint.

A draw takes five classes of a dataset, and parts its clips by scene, subject or film into
training, validation and test: in draw 1 the classes are those that differ in time order or
side, in draw 2 they are drawn from the others. Settings are chosen on validation clips. The
budget of a run is processor time: its steps are the budget over the cost of a step, which is
measured once for each model and dataset and kept in costs.json, so that another machine trains
for the same steps.

Writes to ``--out``: own_recipe.csv, a row for each run; scores.npz, as RUN/scores and so on,
names, groups, labels and scores of its clips; costs.json. What tools/train.py and test.py print is
in the run's folder.
The core-seconds of a run that was resumed are those since its last start.
"""

import argparse
import csv
import fcntl
import io
import json
import math
import os
import pickle
import platform
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix('.yaml')
DATASETS = ('egogest11', 'utd_mhad_depth27', 'jhmdb21')
CLASSES, SEED, BATCH, PIXELS = 5, 41, 16, 64
LIMITS = dict(ten=10, all=40)  # training clips of a class
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
    def name(self) -> str:
        return f'{self.dataset}_{self.setting}_draw{self.draw}_{self.model}_{self.budget}s'


def read_clips(path: Path) -> dict:
    """Labels by video of a list with lines ``video label``."""
    lines = (line.rsplit(maxsplit=1) for line in path.read_text(encoding='utf-8').splitlines())
    return {video: int(label) for video, label in lines}


def split_jhmdb(root: Path, draw: int) -> dict:
    """Split by film: the lists of one split, its training clips parted by the next one's."""
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
    with open(root / 'scenes.csv', newline='', encoding='utf-8') as file:
        scenes = {row['video']: row['scene'] for row in csv.DictReader(file)}
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


class Bench:
    """Work on the list in one output folder.

    Args:
        data (Path): Folder of the datasets.
        out (Path): Folder for the rows, the scores and the costs of a step.
        work_dirs (Path): Gets a folder for each run.
    """

    def __init__(self, data: Path, out: Path, work_dirs: Path) -> None:
        self.data, self.out, self.work_dirs = data.resolve(), out.resolve(), work_dirs.resolve()
        table = yaml.safe_load(LIST.read_text(encoding='utf-8'))
        self.models, self.stages = table['models'], table['stages']
        self.costs_path, self.rows_path = self.out / 'costs.json', self.out / 'own_recipe.csv'
        self.locks = []  # kept by a training whose runner was killed
        self.out.mkdir(parents=True, exist_ok=True)

    @property
    def rows(self) -> list:
        """Rows of the runs that are finished."""
        if not self.rows_path.exists():
            return []
        with open(self.rows_path, newline='', encoding='utf-8') as file:
            return list(csv.DictReader(file))

    @property
    def costs(self) -> dict:
        """Core-seconds of a step and of a start, by dataset and model."""
        return json.loads(self.costs_path.read_text()) if self.costs_path.exists() else {}

    def runs(self) -> list:
        """All runs in order."""
        return [run for stage in self.stages for run in runs_of(stage)]

    def print_plan(self) -> None:
        """Print the runs in order, and the hours that are left."""
        done = {row['run'] for row in self.rows}
        hours = 0
        for number, run in enumerate(self.runs(), 1):
            state = 'done' if run.name in done else f'from hour {hours:.1f}'
            print(f'{number:3} {run.name:64} {state}')
            hours += 0 if run.name in done else (run.budget + OVERHEAD) / 3600
        print(f'{hours:.1f} hours of one core are left', flush=True)

    def work(self) -> None:
        """Do the first run that is not finished, until none is left or only failed ones are."""
        failed = set()
        while todo := self._todo(failed):
            try:
                self._do(todo[0])
            except subprocess.CalledProcessError as error:
                failed.add(todo[0].name)
                print(f'{todo[0].name} failed, see its output.txt: {error}', flush=True)

    def _todo(self, failed):
        gone = failed | {row['run'] for row in self.rows}
        return [run for run in self.runs() if run.name not in gone]

    def _do(self, run):
        folder = self.work_dirs / run.name
        folder.mkdir(parents=True, exist_ok=True)
        classes, parts = draw_clips(self.data, run)
        for key, clips in dict(train=parts['train'], tested=sum(parts.values(), [])).items():
            text = ''.join(f'{clip.path} {clip.label}\n' for clip in clips)
            (folder / f'{key}.txt').write_text(text, encoding='utf-8')
        cost = self._cost_of(run)
        steps_an_epoch = len(parts['train']) // BATCH
        epochs = max(round((run.budget - cost['start']) / cost['step'] / steps_an_epoch), 1)
        print(f'{run.name}: {epochs * steps_an_epoch} steps, {epochs} epochs', flush=True)
        begun = folder / 'last_checkpoint'
        resumed = begun.exists()
        command = self._train_command(run, folder, epochs)
        seconds = self._call([*command, *(['--resume'] if resumed else [])], folder)
        checkpoint = folder / Path(begun.read_text().strip()).name
        words = [checkpoint, '--work-dir', folder / 'test', '--dump', folder / 'scores.pkl']
        self._call(self._command('test.py', run, words, folder, 'test'), folder)
        row = dict(
            run=run.name,
            **run._asdict(),
            **self._settings_of(run),
            steps=epochs * steps_an_epoch,
            epochs=epochs,
            core_seconds=round(seconds, 1),
            resumed=resumed,
            train_loss=last_loss(folder),
            ln_classes=round(math.log(CLASSES), 3),
            **self._accuracies(run, folder, parts),
            classes=';'.join(classes),
            seed=run.draw,
            **environment(),
            command=self._public(shlex.join(map(str, command))),
        )
        self._append(row)
        checkpoint.unlink()
        print(json.dumps(row), flush=True)

    def _cost_of(self, run):
        """Measure what a start and a step cost: trainings of 3 and 12 steps, the faster of two."""
        key, costs = f'{run.dataset} {run.model}', self.costs
        if key not in costs:
            seconds = {1: math.inf, 4: math.inf}
            for epochs in (1, 4, 1, 4):
                folder = self.work_dirs / 'costs'
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                source = (self.work_dirs / run.name / 'train.txt').read_text().splitlines(True)
                (folder / 'train.txt').write_text(''.join(source[: 3 * BATCH]))
                spent = self._call(self._train_command(run, folder, epochs), folder)
                seconds[epochs] = min(seconds[epochs], spent)
            step = (seconds[4] - seconds[1]) / 9
            start = seconds[1] - 3 * step
            costs[key] = dict(step=round(step, 3), start=round(start, 1), **environment())
            write_text(self.costs_path, json.dumps(costs, indent=1) + '\n')
        return costs[key]

    def _train_command(self, run, folder, epochs):
        options = {
            'epochs': epochs,
            'param_scheduler.0.end': max(epochs // 20, 1),
            'train_dataloader.drop_last': True,
            'default_hooks.checkpoint.interval': max(epochs // 6, 1),
            'optim_wrapper.dtype': 'bfloat16',
        }
        words = ['--amp', '--work-dir', folder, '--seed', run.draw]
        return self._command('train.py', run, words, folder, 'train', options)

    def _command(self, tool, run, words, folder, loader, options=None):
        model = self.models[run.model]
        dataset = f'{loader}_dataloader.dataset'
        options = {
            'size': PIXELS,
            'model.cls_head.num_classes': CLASSES,
            **(options or {}),
            f'{dataset}.data_root': self.data / run.dataset,
            f'{dataset}.data_prefix.video': '' if run.dataset == 'utd_mhad_depth27' else 'videos',
            f'{dataset}.ann_file': folder / ('train.txt' if loader == 'train' else 'tested.txt'),
            f'{loader}_dataloader.num_workers': 0,
            f'{loader}_dataloader.persistent_workers': False,
            **model.get('options', {}),
        }
        options = [f'{key}={value}' for key, value in options.items()]
        config = f'configs/recognition/{model["config"]}'
        return [sys.executable, f'tools/{tool}', config, *words, '--cfg-options', *options]

    def _call(self, command, folder):
        """Run a command on one thread; returns its processor time in seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
        with (folder / 'output.txt').open('a', encoding='utf-8') as output:
            words, streams = list(map(str, command)), dict(stdout=output, stderr=output)
            subprocess.run(words, cwd=ROOT, env=env, check=True, pass_fds=self.locks, **streams)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _settings_of(self, run):
        config, options = (
            self.models[run.model]['config'],
            self.models[run.model].get('options', {}),
        )
        scratch = '_r18_' in config
        rate = options.get('optim_wrapper.optimizer.lr', 0.001 if scratch else 0.0005)
        backbone = 'ResNet-18 from scratch' if scratch else 'EfficientNet-Lite0 from ImageNet'
        size = options.get('size', PIXELS)
        return dict(
            backbone=backbone, pixels=size, batch=BATCH, learning_rate=rate, dtype='bfloat16'
        )

    def _accuracies(self, run, folder, parts):
        """Accuracy of each part, right ones per class; writes the scores."""
        with open(folder / 'scores.pkl', 'rb') as file:
            samples = pickle.load(file)
        scores = np.stack([sample['pred_score'].float().numpy() for sample in samples])
        part = np.repeat(list(parts), [len(clips) for clips in parts.values()])
        clips = sum(parts.values(), [])
        labels = np.array([clip.label for clip in clips])
        if [int(sample['gt_label']) for sample in samples] != labels.tolist():
            raise ValueError(f'{folder}/scores.pkl has the labels of other clips')
        arrays = dict(name=[c.path for c in clips], group=[c.group for c in clips], part=part)
        add_arrays(self.out / 'scores.npz', run.name, dict(scores=scores, label=labels, **arrays))
        right = scores.argmax(1) == labels
        result = {}
        for key in ('train', 'val', 'test'):
            own = part == key
            result[f'{key}_clips'] = int(own.sum())
            result[f'{key}_accuracy'] = round(100 * right[own].mean(), 1) if own.any() else ''
            counts = [
                (right[own & (labels == c)].sum(), (own & (labels == c)).sum())
                for c in range(CLASSES)
            ]
            result[f'{key}_right'] = ' '.join(f'{a}/{b}' for a, b in counts) if own.any() else ''
            result[f'{key}_groups'] = len({c.group for c in parts[key] if c.group}) or ''
        return result

    def _append(self, row):
        file = io.StringIO()
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator='\n')
        writer.writeheader()
        writer.writerows([*self.rows, row])
        write_text(self.rows_path, file.getvalue())

    def _public(self, command):
        """A command as it is from the root of a clone with the usual folders."""
        pairs = {
            sys.executable: 'python',
            self.data: 'data',
            self.work_dirs: 'work_dirs/own_recipe',
        }
        for old, new in pairs.items():
            command = command.replace(str(old), new)
        return command


def last_loss(folder: Path) -> float:
    """Mean loss of the last ten epochs of a training, as logged."""
    found = re.findall(r'Epoch\(train\).* loss: ([\d.]+)', (folder / 'output.txt').read_text())
    return round(float(np.mean([float(loss) for loss in found[-10:]])), 4)


def add_arrays(path: Path, run: str, arrays: dict) -> None:
    """Add the arrays of a run to a file, which is replaced at once."""
    known = dict(np.load(path)) if path.exists() else {}
    known.update({f'{run}/{name}': np.asarray(array) for name, array in arrays.items()})
    part = path.with_name(f'.{path.name}')
    np.savez_compressed(part, **known)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace a file by one with this text at once."""
    part = path.with_name(f'.{path.name}.part')
    part.write_text(text, encoding='utf-8')
    part.replace(path)


def environment() -> dict:
    """Processor, and versions of what computes."""
    names = re.findall(r'^model name\s*: (.+)$', Path('/proc/cpuinfo').read_text(), re.M)
    commit = ['git', 'rev-parse', '--short=12', 'HEAD']
    done = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True, check=True)
    versions = [f'python {platform.python_version()}']
    versions += [f'{name} {metadata.version(name)}' for name in ('torch', 'mmaction2', 'timm')]
    device = names[0] if names else platform.machine()
    return dict(device=device, versions=', '.join(versions), commit=done.stdout.strip())


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path, help='folder of the three datasets')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/own_recipe')
    parser.add_argument('--work-dirs', type=Path, required=True, help='folder of the trainings')
    parser.add_argument('--plan', action='store_true', help='print order and hours, train nothing')
    args = parser.parse_args(argv)
    bench = Bench(args.data, args.out, args.work_dirs)
    bench.print_plan()
    if not args.plan:
        args.work_dirs.mkdir(parents=True, exist_ok=True)
        with open(args.work_dirs / '.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of two runners, the second ends
            bench.locks = [lock.fileno()]
            bench.work()


if __name__ == '__main__':
    main()
