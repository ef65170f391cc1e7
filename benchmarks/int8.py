#!/usr/bin/env python3
"""Measure what eight bits cost in accuracy and gain in speed.

    python -m benchmarks.int8 --config CONFIG --checkpoint CHECKPOINT \\
        --out results/performance/int8_NAME.json

Exports the recognizer as ONNX in float32 and in int8, calibrated on videos of the validation
split, and runs PyTorch and both files over the config's test split, one video at a time.
"""

import json
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from benchmarks.runs import accuracies
from pan_mm.deploy.export.exporter import FramesToLogits, export
from pan_mm.inference.recognizer import load_config, load_recognizer
from pan_mm.inference.runtime import ExportedModel

from .timing import environment, new_parser, write_report

CALIBRATION = 32  # videos of the validation split


def measure(logits, dataset, frames):
    """Accuracies and milliseconds of a function from clips to logits, and its answers."""
    times, outputs, labels = [], [], []
    for index in range(len(dataset)):
        item = dataset[index]
        clips = item['inputs'].unflatten(0, (-1, frames))  # (views, T·m, 3, H, W)
        began = time.perf_counter()
        outputs.append(logits(clips).softmax(1).mean(0).numpy())
        times.append(time.perf_counter() - began)
        labels.append(int(item['data_samples'].gt_label))
    scores = np.stack(outputs)
    figures = {key: round(v, 2) for key, v in accuracies(scores, np.array(labels)).items()}
    figures['median_ms'] = round(1000 * np.median(times), 2)
    return figures, scores.argmax(1)


def main():
    parser = new_parser(__doc__, device=False)
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--out', required=True, type=Path, help='JSON file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    surroundings = dict(environment('cpu'), onnxruntime=metadata.version('onnxruntime'))
    config = load_config(args.config, args.cfg_options)
    init_default_scope('mmaction')
    test = DATASETS.build(config.test_dataloader.dataset)
    val = DATASETS.build(config.val_dataloader.dataset)
    step = max(1, len(val) // CALIBRATION)
    places = range(0, len(val), step)[:CALIBRATION]
    videos = [val.get_data_info(place)['filename'] for place in places]
    model = FramesToLogits(load_recognizer(config, args.checkpoint, 'cpu')).eval()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f'{name}.onnx' for name in ('float32', 'int8')}
        export(config, args.checkpoint, paths['float32'])
        export(config, args.checkpoint, paths['int8'], videos=videos, int8=True)
        exported = {name: ExportedModel(path) for name, path in paths.items()}
        sizes = {name: round(path.stat().st_size / 2**20, 1) for name, path in paths.items()}
    runs = dict(pytorch=model, **{name: own.logits for name, own in exported.items()})
    frames = exported['float32'].frames[0]
    figures, predicted = {}, {}
    with torch.no_grad():
        for name, logits in runs.items():
            figures[name], predicted[name] = measure(logits, test, frames)
            print(name, json.dumps(figures[name]), flush=True)
    result = dict(
        command='benchmarks/int8.py',
        environment=surroundings,
        config=Path(args.config).stem,
        videos=len(test),
        calibration_videos=len(videos),
        figures=figures,
        same_top1=round(100 * float(np.mean(predicted['float32'] == predicted['int8'])), 2),
        mib=sizes,
    )
    write_report(args.out, result)


if __name__ == '__main__':
    main()
