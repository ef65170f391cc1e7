#!/usr/bin/env python3
"""Count how often the trained model is unsure of clips of other worlds than its own.

    python -m benchmarks.rejection data

``data`` holds clips (real videos, labeled with other names), egogest11 (gestures) and
utd_mhad_depth27 (depth maps); the shapes of MotionShapes are drawn. None of them was trained on or
chosen by. Writes results/rejection.json.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.runs import RESULTS
from pan_mm.apis import PANInferencer
from pan_mm.datasets.motion_shapes.render import CLASSES, render_clip, write_video
from pan_mm.inference.videos import find_videos
from pan_mm.inference.zoo import find_model
from pan_mm.utils.files import atomic_write

MOST = 100  # clips of a world, evenly over its sorted names


def draw_shapes(folder: Path, number: int = 5) -> None:
    """Write clips of each class of MotionShapes."""
    for label, name in enumerate(CLASSES):
        for seed in range(number):
            clip = render_clip(np.random.default_rng([label, seed]), label, 128, 36)
            write_video(str(folder / f'{name}_{seed}.mp4'), clip)


def count(recognize: PANInferencer, folder: Path) -> dict:
    """Clips of a folder, how many the model is unsure of, and its median score."""
    videos = find_videos([str(folder)])
    chosen = [
        videos[i] for i in np.linspace(0, len(videos) - 1, min(MOST, len(videos))).astype(int)
    ]
    results = [result for result in recognize(chosen) if 'top' in result]
    scores = [result['top'][0]['score'] for result in results]
    return dict(
        clips=len(results),
        unsure=sum(result['unsure'] for result in results),
        median_score=round(float(np.median(scores)), 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path)
    parser.add_argument('--out', type=Path, default=RESULTS / 'rejection.json')
    args = parser.parse_args()
    recognize = PANInferencer(device='cpu')
    with tempfile.TemporaryDirectory() as drawn:
        draw_shapes(Path(drawn))
        worlds = {
            'real videos of other actions': args.data / 'clips/labelled',
            'gestures': args.data / 'egogest11/videos',
            'depth maps': args.data / 'utd_mhad_depth27',
            'drawn shapes': Path(drawn),
        }
        report = {find_model().name: {name: count(recognize, p) for name, p in worlds.items()}}
    with atomic_write(args.out) as part:
        Path(part).write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
