#!/usr/bin/env python3
"""Time whole recognizers: PAN beside MMAction2's own configs, same machine, same input.

    python -m benchmarks.recognizer --out FILE.json

All have a ResNet-50 (X3D has its own network), 400 classes, and random weights, which do not
change the time. On a processor frames are 112 × 112, so that the run ends in minutes; on a GPU
224 × 224. A clip is what a model's config samples as one view of a video: 8 frames (TSN, TSM,
TANet, SlowOnly, PAN_RGB), 32 (the other PAN, SlowFast) or 13 (X3D). Timed is ``test_step``, from
uint8 frames on the device to scores, and ``train_step``, forward, backward and SGD; of PAN_Full
and PAN_En, whose streams are trained apart, the sum of the streams' steps. Models take turns, so
that drift of the machine hits all alike. ``--backend`` names the path of PA; should a kernel not
run, the benchmark ends with an error.
"""

import argparse
import itertools
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Optional

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn

import pan_mm  # noqa: F401, registers PAN
from pan_mm.config.find import without
from pan_mm.config.pipelines import kind_of
from pan_mm.inference.optimization import optimize
from pan_mm.models import PersistenceOfAppearance
from pan_mm.models.streams import recognizers_of
from pan_mm.ops import BACKENDS
from pan_mm.utils.files import write_text

from .timing import (
    environment,
    median_ms,
    new_parser,
    parse_speed,
    peak_of,
    positive,
    show,
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
VARIANTS = ('plain', 'autocast')
OPTIMIZED = ('optimized', 'optimized half', 'optimized half compile')  # inference only
DEFAULTS = dict(
    cpu=dict(variants=['plain', 'optimized'], size=112, batches=[1, 2], train_batch=2, repeats=3),
    cuda=dict(
        variants=[*VARIANTS, *OPTIMIZED], size=224, batches=[1, 8, 32], train_batch=8, repeats=20
    ),
)


def load_config(name: str) -> Config:
    """Config of one of ``CONFIGS``."""
    path = CONFIGS[name]
    if not path.endswith('.py'):
        path = f'mmaction::recognition/{path}.py'
    classes = 'model = dict(cls_head=dict(num_classes=400))'  # as for Kinetics, for all
    return Config.fromstring(f'_base_ = {path!r}\n{classes}', '.py')


def build(name: str, size: int, device: str, backend: str = 'auto') -> tuple:
    """Build a recognizer whose PA takes a path; returns it, and the shape of a clip, uint8."""
    cfg = load_config(name)
    torch.manual_seed(0)
    model = MODELS.build(without(cfg.model, ['pretrained'])).to(device)
    for module in model.modules():
        if isinstance(module, PersistenceOfAppearance):
            module.backend = backend
    pipeline = (cfg.get('val_dataloader') or cfg.test_dataloader).dataset.pipeline
    sample = next(dict(t) for t in pipeline if kind_of(t) == 'sample')
    if any(t.get('input_format') == 'NCTHW' for t in pipeline):
        return model, (1, 3, sample['clip_len'], size, size)
    return model, (sample['num_clips'] * sample['clip_len'], 3, size, size)


def vary(model: nn.Module, variant: str) -> nn.Module:
    """A variant of a model; 'autocast' is the plain model, see :func:`precision`."""
    return model if variant in VARIANTS else optimize(deepcopy(model), variant.split()[1:])


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
        for name, (model, shape) in recognizers.items():
            varied = vary(model, variant)
            for batch in batches:
                functions[name, variant, batch] = make(varied, shape, batch, variant, args.device)
    seconds = time_in_turns(functions, args.repeats, args.warmup)
    rows = []
    for (name, variant, batch), function in functions.items():
        ms = median_ms(seconds[name, variant, batch])
        row = dict(model=name, variant=variant, batch=batch, ms=ms, per_second=1000 / ms)
        row['clips_per_second'] = batch * row['per_second']
        if variant == variants[0]:
            row['peak_mbytes'] = peak_of(function, args.device) / 2**20
        rows.append(row)
    return rows


def profile(function: Callable, device: str, path: Path) -> None:
    """Write which operators three training steps spend their time in."""
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU, *([kinds.CUDA] if device == 'cuda' else [])]
    function()
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(3):
            function()
    path.parent.mkdir(parents=True, exist_ok=True)
    table = profiler.key_averages().table(sort_by=f'self_{device}_time_total', row_limit=-1)
    write_text(path, table)


def parse_args(argv: Optional[list] = None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument('--models', nargs='+', choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument('--variants', nargs='+', choices=VARIANTS + OPTIMIZED)
    parser.add_argument('--backend', choices=BACKENDS, default='auto', help='path of PA')
    parser.add_argument('--size', type=positive, help='pixels')
    parser.add_argument('--batches', nargs='+', type=positive)
    parser.add_argument('--train-batch', type=positive)
    parser.add_argument('--repeats', type=positive)
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--profile', type=Path, help='folder for profiles of three training steps')
    args = parse_speed(parser, argv)
    for name, value in DEFAULTS[args.device].items():
        setattr(args, name, getattr(args, name) or value)
    return args


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')  # TANet logs each weight that it creates
    if args.backend != 'auto':  # plain operators would be timed in place of a kernel
        warnings.filterwarnings('error', 'pan_mm: PA ')
    recognizers = {name: build(name, args.size, args.device, args.backend) for name in args.models}
    report = dict(
        environment=environment(args.device),
        settings=dict(
            size=args.size,
            dtype='float32',
            backend=args.backend,
            repeats=args.repeats,
            warmup=args.warmup,
        ),
        models={
            name: dict(clip=shape, parameters=sum(p.numel() for p in model.parameters()))
            for name, (model, shape) in recognizers.items()
        },
    )
    trainable = [variant for variant in args.variants if variant in VARIANTS]
    for name, make, own, batches in (
        ('training', training, trainable, [args.train_batch]),
        ('inference', inference, args.variants, args.batches),
    ):
        report[name] = measure(recognizers, make, own, batches, args)
        write_report(args.out, report)  # finished parts stay if the next one is stopped
        show(name, report[name])
    for name, variant in itertools.product(recognizers, trainable) if args.profile else ():
        step = training(*recognizers[name], args.train_batch, variant, args.device)
        profile(step, args.device, args.profile / f'{name}-{variant}.txt')


if __name__ == '__main__':
    main()
