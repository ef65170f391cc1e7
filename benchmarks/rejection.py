#!/usr/bin/env python3
"""Count how often a model is unsure of clips from other domains than its own.

    python -m benchmarks.rejection data

``data`` holds clips (real videos, labeled with other names), egogest11 (gestures) and
utd_mhad_depth27 (depth maps); the shapes of MotionShapes are drawn. None of them was trained on or
chosen by. Writes the counts of the trained model of the package to results/rejection.json.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.runs import RESULTS
from pan_mm.apis import PANInferencer
from pan_mm.datasets.motion_shapes.render import CLASSES, render_clip, write_video
from pan_mm.inference.videos import find_videos
from pan_mm.inference.zoo import find_model

from .timing import new_parser, write_report

KNOWN = ('golf', 'archery', 'shoot_bow', 'swing_baseball')  # in names of clips: the model's classes
MOST = 100  # clips of a world, evenly over its sorted names


def draw_shapes(folder: Path, number: int = 5) -> None:
    """Write clips of each class of MotionShapes."""
    for label, name in enumerate(CLASSES):
        for seed in range(number):
            clip = render_clip(np.random.default_rng([label, seed]), label, 128, 36)
            write_video(str(folder / f'{name}_{seed}.mp4'), clip)


def spread(folder: Path) -> list:
    """Choose videos of a folder."""
    videos = find_videos([str(folder)])
    return [videos[i] for i in np.linspace(0, len(videos) - 1, min(MOST, len(videos))).astype(int)]


def count(recognize: PANInferencer, videos: list) -> dict:
    """Count clips, and the ones that the model is unsure of; give its median score."""
    results = [result for result in recognize(videos) if 'top' in result]
    scores = [result['top'][0]['score'] for result in results]
    return dict(
        clips=len(results),
        unsure=sum(result['unsure'] for result in results),
        median_score=round(float(np.median(scores)), 3),
    )


def main() -> None:
    parser = new_parser(__doc__, device=False)
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
        worlds = {name: spread(folder) for name, folder in worlds.items()}
        real = 'real videos of other actions'
        worlds[real] = [v for v in worlds[real] if not any(name in str(v) for name in KNOWN)]
        counts = {name: count(recognize, videos) for name, videos in worlds.items()}
    write_report(args.out, counts, find_model().name)


if __name__ == '__main__':
    main()
