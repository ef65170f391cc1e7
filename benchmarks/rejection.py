#!/usr/bin/env python3
"""Count how often a model is unsure of clips from other domains than its own.

    python -m benchmarks.rejection data
    python -m benchmarks.rejection data --dev CONFIG CHECKPOINT

``data`` holds clips (real videos, labeled with other names), egogest11 (gestures) and
utd_mhad_depth27 (depth maps); the shapes of MotionShapes are drawn. None of them was trained on or
chosen by. The first command counts for the trained model of the package. The second compares ways
to notice such clips, with a model that was trained on ``annotations/dev_train.txt`` of jhmdb21;
each has the threshold that 60 % of the clips in dev_val.txt reach:

- probability: of the first class;
- energy: log-sum-exp of the logits (Liu et al., "Energy-based Out-of-distribution Detection");
- class means: cosine of the features to the nearest mean of a class of training clips.

Both write to results/rejection.json.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch.nn.functional import cosine_similarity

from benchmarks.own_recipe import read_clips
from benchmarks.runs import RESULTS
from pan_mm.apis import PANInferencer
from pan_mm.datasets.motion_shapes.render import CLASSES, render_clip, write_video
from pan_mm.inference.calibration import COVERAGE
from pan_mm.inference.videos import find_videos, read_videos
from pan_mm.inference.zoo import find_model
from pan_mm.models.streams import recognizers_of
from pan_mm.utils.files import atomic_write

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


@torch.no_grad()
def outputs(recognize: PANInferencer, videos: list) -> tuple:
    """Compute logits (N, num_classes) and features (N, C) of the videos that can be read."""
    for recognizer in recognizers_of(recognize.model).values():
        recognizer.cls_head.average_clips = 'score'
    logits, features = [], []
    for _, clip, error in read_videos(videos, recognize.pipeline, workers=1):
        if error is None:
            (sample,) = recognize.model.test_step(pseudo_collate([clip]))
            logits.append(sample.pred_score.float())
            features.append(recognize.features([clip])[0])
    return torch.stack(logits), torch.stack(features)


def compare_measures(recognize: PANInferencer, jhmdb: Path, worlds: dict) -> dict:
    """Compare ways to notice clips from other domains, each with its threshold."""
    lists = [read_clips(jhmdb / f'annotations/dev_{part}.txt') for part in ('train', 'val')]
    train, val = (outputs(recognize, [str(jhmdb / 'videos' / v) for v in each]) for each in lists)
    labels = torch.tensor(list(lists[0].values()))
    center = train[1].mean(0)
    means = torch.stack([train[1][labels == label].mean(0) for label in labels.unique()]) - center
    measures = {
        'probability': lambda logits, _: logits.softmax(1).amax(1),
        'energy': lambda logits, _: logits.logsumexp(1),
        'class means': lambda _, features: cosine_similarity(
            (features - center)[:, None], means, dim=2
        ).amax(1),
    }
    right = val[0].argmax(1) == torch.tensor(list(lists[1].values()))
    others = {name: outputs(recognize, videos) for name, videos in worlds.items()}
    report = {}
    for name, measure in measures.items():
        own = measure(*val)
        threshold = own.quantile(1 - COVERAGE)
        rows = {}
        for world, found in others.items():
            unsure = measure(*found) < threshold
            rows[world] = dict(clips=len(unsure), unsure=int(unsure.sum()))
        sure = right[own >= threshold]
        report[name] = dict(dev_sure=len(sure), dev_sure_right=int(sure.sum()), worlds=rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path)
    parser.add_argument('--dev', nargs=2, metavar=('CONFIG', 'CHECKPOINT'))
    parser.add_argument('--out', type=Path, default=RESULTS / 'rejection.json')
    args = parser.parse_args()
    report = json.loads(args.out.read_text(encoding='utf-8')) if args.out.exists() else {}
    recognize = PANInferencer(*args.dev or (), device='cpu')
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
        if args.dev:
            report['measures'] = compare_measures(recognize, args.data / 'jhmdb21', worlds)
        else:
            counts = {name: count(recognize, videos) for name, videos in worlds.items()}
            report[find_model().name] = counts
    with atomic_write(args.out) as part:
        Path(part).write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
