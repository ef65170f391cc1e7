#!/usr/bin/env python3
"""Time the way from a video file to the model's input, stage by stage.

    python -m benchmarks.pipeline VIDEO [VIDEO ...] --out FILE.json

The test pipeline of PAN_Lite's config is compared with MMAction2's stock one, which has its Decord
transforms and its data preprocessor and is otherwise the same, with one and with more decoding
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

from .timing import (
    environment,
    parse_benchmark,
    positive,
    set_threads,
    show,
    write_report,
)

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv2-rgb.py'
STAGES = {
    'VideoInit': 'open',
    'DecordInit': 'open',
    'VideoDecode': 'decode',
    'DecordDecode': 'decode',
}


def make_pipelines(threads: int) -> dict:
    """Transforms by the name of their pipeline."""
    cfg = Config.fromfile(ROOT / 'configs/recognition/pan' / CONFIG)
    own = cfg.test_dataloader.dataset.pipeline
    stock = deepcopy(own)
    types = [transform.type for transform in stock]
    stock[types.index('VideoInit')] = dict(type='DecordInit')
    stock[types.index('VideoDecode')] = dict(type='DecordDecode')
    pipelines = {'stock': stock, 'default': own}
    if threads > 1:
        for name in ('stock', 'default'):
            pipelines[f'{name}, {threads} threads'] = deepcopy(pipelines[name])
            pipelines[f'{name}, {threads} threads'][0]['num_threads'] = threads
    return {
        name: [TRANSFORMS.build(transform) for transform in transforms]
        for name, transforms in pipelines.items()
    }


def make_preprocessors(device: str) -> dict:
    """Data preprocessors, which move, stack and normalize, MMAction2's own and the config's."""
    cfg = Config.fromfile(ROOT / 'configs/recognition/pan' / CONFIG).model.data_preprocessor
    stock = dict(cfg, type='ActionDataPreprocessor')
    return {
        name: MODELS.build(cfg).to(device) for name, cfg in (('stock', stock), ('default', cfg))
    }


def run(transforms: list, preprocess, video: Path) -> tuple:
    """Seconds of each stage, and the model's input."""
    results = dict(filename=str(video), start_index=0, modality='RGB', label=0)
    seconds = {}
    for transform in transforms:
        started = time.perf_counter()
        results = transform(results)
        name = type(transform).__name__
        seconds[STAGES.get(name, name)] = time.perf_counter() - started
    started = time.perf_counter()
    inputs = preprocess(pseudo_collate([results]))['inputs']
    if inputs.is_cuda:
        torch.cuda.synchronize()
    seconds['collate, move, normalize'] = time.perf_counter() - started
    return seconds, inputs


def measure(args: argparse.Namespace) -> dict:
    pipelines = make_pipelines(args.decode_threads)
    preprocessors = make_preprocessors(args.device)
    rows, equal, unequal = [], [], []
    for repeat in range(args.repeats + 1):  # the first is the warm-up
        for video in args.videos:
            inputs = {}
            for name, transforms in pipelines.items():
                preprocess = preprocessors[name.split(',')[0]]
                stages, inputs[name] = run(transforms, preprocess, video)
                if repeat:
                    rows.append(dict(pipeline=name, video=video, **stages))
            if not repeat:
                is_equal = torch.equal(inputs['stock'], inputs['default'])
                (equal if is_equal else unequal).append(video.name)
    seconds = pd.DataFrame(rows).set_index(['pipeline', 'video'])
    medians = seconds.sum(axis=1).groupby(level=[0, 1]).median().unstack('pipeline')  # by video
    shares = seconds.groupby('pipeline').sum()
    shares = shares.div(shares.sum(axis=1), axis=0)
    report = {}
    for name in pipelines:
        ms = 1000 * medians[name]
        report[name] = dict(
            ms=ms.mean(),
            spread=[ms.min(), ms.max()],
            videos_per_second=1000 / ms.mean(),
            times_stock=medians['stock'].sum() / medians[name].sum(),
            times_stock_median=(medians['stock'] / medians[name]).median(),
            stages_ms=(ms.mean() * shares.loc[name]).to_dict(),
        )
    return dict(pipelines=report, equal=equal, unequal=unequal)


def parse_args(argv: Optional[list] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('videos', nargs='+', type=Path)
    parser.add_argument('--repeats', type=positive, default=5, help='of each video')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of PyTorch')
    parser.add_argument('--decode-threads', type=int, default=2, help='beside one')
    return parse_benchmark(parser, argv)


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    init_default_scope('mmaction')
    set_threads(args.threads)
    report = dict(
        environment=dict(environment(args.device), threads=args.threads),
        settings=dict(videos=len(args.videos), repeats=args.repeats),
        **measure(args),
    )
    if args.out:
        write_report(args.out, report)
    rows = report['pipelines'].items()
    show(
        'ms for a video', (dict(pipeline=name, **row.pop('stages_ms'), **row) for name, row in rows)
    )
    equal, unequal = report['equal'], report['unequal']
    print(
        f'{len(equal)} of {len(equal) + len(unequal)} videos give the model equal numbers', *unequal
    )


if __name__ == '__main__':
    main()
