#!/usr/bin/env python3
"""Measure what eight bits cost in accuracy and gain in speed.

    python -m benchmarks.int8 --config CONFIG --checkpoint CHECKPOINT \\
        --out results/performance/int8_NAME.json

Exports the recognizer as ONNX in float32 and in int8, calibrated on videos of the validation
split, and runs PyTorch and both files over the config's test split, one video at a time.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from pan_mm.deploy.export.exporter import FramesToLogits, export
from pan_mm.inference.recognizer import load_config, load_recognizer
from pan_mm.inference.runtime import ExportedModel
from pan_mm.inference.score_fusion import accuracies

from .timing import environment, write_report


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--calibration', type=int, default=32, help='videos of the val split')
    parser.add_argument('--videos', type=int, help='of the test split; by default all')
    parser.add_argument('--out', required=True, type=Path, help='JSON file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args()


def read_split(dataset, count):
    """Clips (views, T·m, 3, H, W) and label of evenly spread videos."""
    count = min(count or len(dataset), len(dataset))
    for index in np.linspace(0, len(dataset) - 1, count).astype(int).tolist():
        item = dataset[index]
        yield item['inputs'], int(item['data_samples'].gt_label)


def measure(logits, dataset, frames, count):
    """Accuracies and milliseconds of a function from clips to logits, and its answers."""
    times, outputs, labels = [], [], []
    for inputs, label in read_split(dataset, count):
        clips = inputs.unflatten(0, (-1, frames))
        began = time.perf_counter()
        outputs.append(logits(clips).softmax(1).mean(0).numpy())
        times.append(time.perf_counter() - began)
        labels.append(label)
    scores = np.stack(outputs)
    figures = {key: round(v, 2) for key, v in accuracies(scores, np.array(labels)).items()}
    figures['median_ms'] = round(1000 * statistics.median(times), 2)
    return figures, scores.argmax(1).tolist()


def main():
    args = parse_args()
    surroundings = dict(
        environment('cpu'),
        threads=torch.get_num_threads(),
        onnxruntime=metadata.version('onnxruntime'),
    )
    config = load_config(args.config, args.cfg_options)
    init_default_scope('mmaction')
    test = DATASETS.build(config.test_dataloader.dataset)
    val = DATASETS.build(config.val_dataloader.dataset)
    step = max(1, len(val) // args.calibration)
    videos = [val.get_data_info(i)['filename'] for i in range(0, len(val), step)]
    videos = videos[: args.calibration]
    figures, predicted, sizes = {}, {}, {}
    recognizer = load_recognizer(config, args.checkpoint, 'cpu')
    model = FramesToLogits(recognizer).eval()
    with tempfile.TemporaryDirectory() as folder:
        path32, path8 = Path(folder) / 'float32.onnx', Path(folder) / 'int8.onnx'
        size = tuple(test[0]['inputs'].shape[2:])
        export(config, args.checkpoint, path32, size=size)
        export(config, args.checkpoint, path8, size=size, videos=videos, int8=True)
        frames = ExportedModel(path32).frames[0]
        runs = dict(
            pytorch=model,
            float32=ExportedModel(path32).logits,
            int8=ExportedModel(path8).logits,
        )
        with torch.no_grad():
            for name, logits in runs.items():
                figures[name], predicted[name] = measure(logits, test, frames, args.videos)
                print(name, json.dumps(figures[name]), flush=True)
        sizes = dict(float32=path32.stat().st_size, int8=path8.stat().st_size)
    same = np.mean([a == b for a, b in zip(predicted['float32'], predicted['int8'])])
    result = dict(
        command='benchmarks/int8.py',
        environment=surroundings,
        config=Path(args.config).stem,
        videos=len(predicted['int8']),
        calibration_videos=len(videos),
        figures=figures,
        same_top1=round(100 * float(same), 2),
        mib={name: round(size / 2**20, 1) for name, size in sizes.items()},
    )
    write_report(args.out, result)


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f'error: {error}')
