#!/usr/bin/env python3
"""Time whole recognizers: PAN beside MMAction2's own configs, same machine, same input.

    python -m benchmarks.recognizer --out FILE.json

All have a ResNet-50 (X3D has its own network), 400 classes, and random weights, which do not
change the time. On a processor frames are 112 × 112, so that the run ends in minutes; on a GPU
224 × 224. A clip is what a model's config samples as one view of a video: 8 frames (TSN, TSM,
TANet, SlowOnly, PAN_RGB), 32 (the other PAN, SlowFast) or 13 (X3D). Timed is ``test_step``, from
uint8 frames on the device to scores, and ``train_step``, forward, backward and SGD; of PAN_Full
and PAN_En, whose streams are trained apart, the sum of the streams' steps. Models take turns, so
that drift of the machine hits all alike.
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple, Optional

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn

import pan_mm  # noqa: F401, registers PAN
from pan_mm.config.pipelines import kind_of
from pan_mm.inference.optimization import optimize
from pan_mm.models.memory_format import backbones, to_channels_last
from pan_mm.models.streams import recognizers_of
from pan_mm.ops.cpu import has_bfloat16_units

from .timing import (
    environment,
    parse_benchmark,
    peak_of,
    positive,
    set_threads,
    show,
    summary,
    time_in_turns,
    write_report,
)

ROOT = Path(__file__).resolve().parents[1]
PAN = str(ROOT / 'configs/recognition/pan' / 'pan-{}_sthv2-rgb.py')
CONFIGS = {
    'PAN_Lite': PAN.format('lite_imagenet-pretrained-r50_8xb8-4x1x8-80e'),
    'PAN_PA': PAN.format('pa_imagenet-pretrained-r50_8xb8-4x1x8-80e'),
    'PAN_RGB': PAN.format('rgb_imagenet-pretrained-r50_8xb8-1x1x8-50e'),
    'PAN_Full': PAN.format('full_r50_4x1x8'),
    'PAN_En': PAN.format('en_r50_4x1x8'),
    'TSN': 'tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb',
    'TSM': 'tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb',
    'TANet': 'tanet/tanet_imagenet-pretrained-r50_8xb8-dense-1x1x8-100e_kinetics400-rgb',
    'SlowOnly': 'slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb',
    'SlowFast': 'slowfast/slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb',
    'X3D_S': 'x3d/x3d_s_13x6x1_facebook-kinetics400-rgb',
}
VARIANTS = ('plain', 'channels-last', 'autocast', 'compiled')
OPTIMIZED = ('optimized', 'optimized half', 'optimized half compile')  # inference only


class Recognizer(NamedTuple):
    """A recognizer that is timed.

    Attributes:
        config (str): Name of the config.
        model (nn.Module): On its device.
        shape (tuple[int]): Shape of a clip as the pipeline gives it, uint8.
    """

    config: str
    model: nn.Module
    shape: tuple


def load_config(name: str) -> Config:
    """Config of one of ``CONFIGS``."""
    path = CONFIGS[name]
    if not path.endswith('.py'):
        path = f'mmaction::recognition/{path}.py'
    classes = 'model = dict(cls_head=dict(num_classes=400))'  # those of Kinetics for all
    return Config.fromstring(f'_base_ = {path!r}\n{classes}', '.py')


def without_pretrained(cfg: dict) -> dict:
    """The config of a model that loads nothing when it is built."""
    return {
        key: without_pretrained(value) if isinstance(value, dict) else value
        for key, value in cfg.items()
        if key != 'pretrained'
    } | ({'pretrained': None} if 'pretrained' in cfg else {})


def build(name: str, size: int, device: str) -> Recognizer:
    """Build a recognizer; a clip is what its config samples as one view of a video."""
    cfg = load_config(name)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model)).to(device)
    pipeline = (cfg.get('val_dataloader') or cfg.test_dataloader).dataset.pipeline
    sample = next(dict(t) for t in pipeline if kind_of(t) == 'sample')
    layout = next(t['input_format'] for t in pipeline if t['type'] == 'FormatShape')
    if layout == 'NCTHW':
        shape = (1, 3, sample['clip_len'], size, size)
    else:
        shape = (sample['num_clips'] * sample['clip_len'], 3, size, size)
    return Recognizer(Path(CONFIGS[name]).stem, model, shape)


def vary(model: nn.Module, variant: str) -> nn.Module:
    """A variant of a model; 'autocast' is the plain model, see :func:`precision`."""
    if variant in ('plain', 'autocast'):
        return model
    model = deepcopy(model)
    if variant == 'channels-last':
        for backbone in backbones(model):
            to_channels_last(backbone)
    elif variant == 'compiled':
        for backbone in backbones(model):
            backbone.compile(dynamic=False)
    else:
        optimize(model, variant.split()[1:])
    return model


def precision(variant: str, device: str):
    """The context that a variant runs in."""
    return torch.autocast(device, torch.bfloat16) if variant == 'autocast' else nullcontext()


def batch_of(shape: tuple, batch: int, device: str) -> dict:
    """Random clips with labels, as the dataloader gives them."""
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
        for _ in range(batch)
    ]
    return dict(inputs=inputs, data_samples=[ActionDataSample().set_gt_label(0) for _ in inputs])


def inference(model: nn.Module, shape: tuple, batch: int, variant: str, device: str) -> Callable:
    """A function that scores a batch."""
    data = batch_of(shape, batch, device)

    def run():
        model.eval()
        with torch.no_grad(), precision(variant, device):
            return model.test_step(dict(data))

    return run


def training(model: nn.Module, shape: tuple, batch: int, variant: str, device: str) -> Callable:
    """A function that does a training step, of an ensemble one of each stream."""
    data = batch_of(shape, batch, device)
    parts = list(recognizers_of(model).values())
    wrappers = [
        OptimWrapper(torch.optim.SGD(part.parameters(), lr=1e-6, momentum=0.9)) for part in parts
    ]
    for part in parts:  # an ensemble normalizes for its streams
        part.data_preprocessor = model.data_preprocessor

    def run():
        for part, wrapper in zip(parts, wrappers):
            part.train()
            with precision(variant, device):
                part.train_step(dict(data), wrapper)

    return run


def measure(recognizers: dict, make: Callable, variants: list, batches: list, args) -> list:
    """Time a kind of step for all recognizers, variants and batches, in turns."""
    functions = {}
    for variant in variants:
        for name, recognizer in recognizers.items():
            model = vary(recognizer.model, variant)
            for batch in batches:
                functions[name, variant, batch] = make(
                    model, recognizer.shape, batch, variant, args.device
                )
    seconds = time_in_turns(functions, args.repeats, args.warmup)
    rows = []
    for (name, variant, batch), function in functions.items():
        row = summary(seconds[name, variant, batch])
        if variant == variants[0]:
            row['peak_mbytes'] = peak_of(function, args.device) / 2**20
        rows.append(
            dict(
                model=name,
                variant=variant,
                batch=batch,
                **row,
                per_second=1000 / row['ms'],
                clips_per_second=1000 * batch / row['ms'],
            )
        )
    return rows


def parse_args(argv: Optional[list] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--models', nargs='+', choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=VARIANTS + OPTIMIZED,
        help='by default all on a GPU; on a processor those without compilation, and without half '
        'precision too where it has no units for bfloat16',
    )
    parser.add_argument('--size', type=positive, help='pixels, by default 112, on a GPU 224')
    parser.add_argument(
        '--batches', nargs='+', type=positive, help='by default 1 2, on a GPU 1 8 32'
    )
    parser.add_argument('--train-batch', type=positive, help='clips, by default 2, on a GPU 8')
    parser.add_argument('--repeats', type=positive, help='by default 3, on a GPU 20')
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parse_benchmark(parser, argv)
    on_gpu = args.device == 'cuda'
    args.size = args.size or (224 if on_gpu else 112)
    args.batches = args.batches or ([1, 8, 32] if on_gpu else [1, 2])
    args.train_batch = args.train_batch or (8 if on_gpu else 2)
    args.repeats = args.repeats or (20 if on_gpu else 3)
    slow = [] if on_gpu else ['compile']
    if not (on_gpu or has_bfloat16_units()):
        slow += ['half', 'autocast']
    args.variants = args.variants or [
        variant for variant in VARIANTS + OPTIMIZED if not any(word in variant for word in slow)
    ]
    return args


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')  # TANet logs each weight that it creates
    set_threads(args.threads)
    report = dict(
        environment=dict(environment(args.device), threads=args.threads),
        settings=dict(size=args.size, dtype='float32', repeats=args.repeats, warmup=args.warmup),
    )
    recognizers = {name: build(name, args.size, args.device) for name in args.models}
    report['models'] = {
        name: dict(
            config=recognizer.config,
            clip=recognizer.shape,
            parameters=sum(p.numel() for p in recognizer.model.parameters()),
        )
        for name, recognizer in recognizers.items()
    }
    trainable = [variant for variant in args.variants if variant in VARIANTS]
    parts = dict(
        training=lambda: measure(recognizers, training, trainable, [args.train_batch], args),
        inference=lambda: measure(recognizers, inference, args.variants, args.batches, args),
    )
    for name, part in parts.items():  # keep finished parts if the next one is stopped
        report[name] = part()
        if args.out:
            write_report(args.out, report)
        show(name, report[name])


if __name__ == '__main__':
    main()
