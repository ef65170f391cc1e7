#!/usr/bin/env python3
"""Train on 20 clips a class as the README says for your own videos, and measure accuracy.

    python -m benchmarks.own_videos data/jhmdb21 --out results/own_videos.json

Takes the first five classes of JHMDB with at least 20 clips in dev_train.txt: 20 of these clips to
train, and all clips of the classes in dev_val.txt, from other films, to test. Runs the
command that tools/data/build_list.py prints: as it is, which starts from ImageNet weights; with all
stages of the network frozen; and from scratch.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

import torch

from pan_mm.datasets.file_lists import read_label_map, read_lines
from pan_mm.inference.score_fusion import accuracies, load_scores, scores_and_labels

from .compared import ROOT
from .timing import environment, write_report

VARIANTS = {
    'from ImageNet weights': {},
    'stages frozen': {'model.backbone.backbone.frozen_stages': 7},
    'from scratch': {'model.backbone.backbone.pretrained': None},
}
CLASSES, CLIPS = 5, 20


def lay_out(data_root: Path, folder: Path) -> list:
    """Copy the clips into FOLDER/train/CLASS and FOLDER/val/CLASS; returns names of the classes."""
    clips = {}
    for split, name in (('train', 'dev_train.txt'), ('val', 'dev_val.txt')):
        lines = [line.split() for line in read_lines(data_root / 'annotations' / name)]
        for path, label in lines:
            clips.setdefault(int(label), {}).setdefault(split, []).append(path)
    labels = [label for label in sorted(clips) if len(clips[label]['train']) >= CLIPS][:CLASSES]
    for label in labels:
        for split, kept in (('train', CLIPS), ('val', None)):
            for path in clips[label][split][:kept]:
                target = folder / split / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(data_root / 'videos' / path, target)
    names = read_label_map(data_root / 'label_map.txt')
    return [names[label] for label in labels]


def run(words: list, threads: int) -> str:
    """Run a tool of the checkout; returns its output."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH=str(ROOT))
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f'error: {shlex.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


def train(printed: str, folder: Path, changes: dict, threads: int) -> dict:
    """Run the printed command with changes, then test its last checkpoint on the val clips."""
    words = shlex.split(printed.replace('\\\n', ' '))
    words = [sys.executable, *words[1:], *(f'{key}={value}' for key, value in changes.items())]
    words += ['--work-dir', str(folder), '--seed', '0']
    start = time.time()
    run(words, threads)
    minutes = (time.time() - start) / 60
    (config,) = folder.glob('*.py')
    checkpoint, dump = (folder / 'last_checkpoint').read_text().strip(), folder / 'scores.pkl'
    run([sys.executable, 'tools/test.py', str(config), checkpoint, '--dump', str(dump)], threads)
    scores, labels = scores_and_labels(load_scores(dump))
    found = {key: round(value, 1) for key, value in accuracies(scores, labels).items()}
    return dict(minutes=round(minutes, 1), clips=len(labels), **found)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root', type=Path, help='JHMDB, laid out as tools/data/jhmdb says')
    parser.add_argument('--out', type=Path, required=True, help='result file, .json')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        videos = Path(scratch) / 'videos'
        measured = environment('cpu')
        classes = lay_out(args.data_root, videos)
        printed = run([sys.executable, 'tools/data/build_list.py', str(videos)], args.threads)
        command = re.search(r'^python tools/train\.py(?:.*\\\n)*.*$', printed, re.M)[0]
        variants = {}
        for number, (name, changes) in enumerate(VARIANTS.items()):
            folder = Path(scratch) / str(number)
            variants[name] = train(command, folder, changes, args.threads)
            print(name, json.dumps(variants[name]), flush=True)
        report = dict(
            environment=measured,
            threads=args.threads,
            classes=classes,
            clips_per_class=CLIPS,
            command=command.replace(str(videos), 'my_videos'),
            variants=variants,
        )
        write_report(args.out, report)


if __name__ == '__main__':
    main()
