#!/usr/bin/env python3
"""Time the way from a video file to the model's input, stage by stage.

    python -m benchmarks.pipeline VIDEO [VIDEO ...] --out FILE.json

The test pipeline of PAN_Lite's config is compared with MMAction2's stock one, which has its Decord
transforms and its data preprocessor and is otherwise the same, with one and with two decoding
threads. They take turns on each video, and their outputs are compared.
"""

import argparse
import time
from copy import deepcopy
from pathlib import Path
from typing import Optional

import pandas as pd
import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

import pan_mm  # noqa: F401, registers PAN
from benchmarks.runs import find_config

from .timing import environment, new_parser, parse_speed, positive, show, write_report

CONFIG = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv2-rgb'
STOCK = dict(VideoInit='DecordInit', VideoDecode='DecordDecode')
STAGES = dict(VideoInit='open', VideoDecode='decode', DecordInit='open', DecordDecode='decode')


def make_pipelines() -> dict:
    """Transforms, and the data preprocessor, which moves, stacks and normalizes, by name."""
    cfg = Config.fromfile(find_config(CONFIG))
    pipelines = {}
    for threads in (1, 2):
        own = deepcopy(cfg.test_dataloader.dataset.pipeline)
        own[0]['num_threads'] = threads
        stock = [dict(step, type=STOCK.get(step['type'], step['type'])) for step in own]
        kinds = dict(stock=(stock, 'ActionDataPreprocessor'), default=(own, 'PANDataPreprocessor'))
        for name, (steps, preprocessor) in kinds.items():
            pipelines[name if threads == 1 else f'{name}, {threads} threads'] = (
                [TRANSFORMS.build(step) for step in steps],
                MODELS.build(dict(cfg.model.data_preprocessor, type=preprocessor)),
            )
    return pipelines


def run(transforms: list, preprocess, video: Path) -> tuple:
    """Milliseconds of each stage, and the model's input."""
    results = dict(filename=str(video), start_index=0, modality='RGB', label=0)
    stages = {}
    for transform in transforms:
        began = time.perf_counter()
        results = transform(results)
        name = type(transform).__name__
        stages[STAGES.get(name, name)] = 1000 * (time.perf_counter() - began)
    began = time.perf_counter()
    inputs = preprocess(pseudo_collate([results]))['inputs']
    if inputs.is_cuda:
        torch.cuda.synchronize()
    stages['collate, move, normalize'] = 1000 * (time.perf_counter() - began)
    return stages, inputs


def measure(args: argparse.Namespace) -> dict:
    pipelines = make_pipelines()
    rows, equal, unequal = [], [], []
    for repeat in range(args.repeats + 1):  # the first is the warm-up
        for video in args.videos:
            inputs = {}
            for name, (transforms, preprocess) in pipelines.items():
                stages, inputs[name] = run(transforms, preprocess.to(args.device), video)
                if repeat:
                    rows.append(dict(pipeline=name, video=video, **stages))
            if not repeat:
                is_equal = torch.equal(inputs['stock'], inputs['default'])
                (equal if is_equal else unequal).append(video.name)
    return dict(pipelines=summarize(rows), equal=equal, unequal=unequal)


def summarize(rows: list) -> dict:
    """Mean over videos of the medians of a pipeline, divided among its stages."""
    stages = pd.DataFrame(rows).set_index(['pipeline', 'video'])
    medians = stages.sum(axis=1).groupby(level=[0, 1]).median().unstack('pipeline')
    shares = stages.groupby('pipeline').sum()
    shares = shares.div(shares.sum(axis=1), axis=0)
    return {
        name: dict(
            ms=ms,
            videos_per_second=1000 / ms,
            times_stock=medians['stock'].mean() / ms,
            stages_ms=(ms * shares.loc[name]).to_dict(),
        )
        for name, ms in medians.mean().items()
    }


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument('videos', nargs='+', type=Path)
    parser.add_argument('--repeats', type=positive, default=5, help='of each video')
    args = parse_speed(parser, argv)
    init_default_scope('mmaction')
    report = dict(
        environment=environment(args.device),
        settings=dict(videos=len(args.videos), repeats=args.repeats),
        **measure(args),
    )
    write_report(args.out, report)
    rows = report['pipelines'].items()
    show('ms', (dict(pipeline=name, **row.pop('stages_ms'), **row) for name, row in rows))
    equal, unequal = report['equal'], report['unequal']
    count = len(equal) + len(unequal)
    print(f'{len(equal)} of {count} videos give the model equal numbers', *unequal)


if __name__ == '__main__':
    main()
