#!/usr/bin/env python3
"""Time motion cues on the frames of a video: PA, each backend, against optical flow.

    python -m benchmarks.motion VIDEO [VIDEO ...] --out results/performance/NAME.json

All are timed in the same run, in turns, on the same frames; reported is the median. On a GPU
(``--device cuda``) the script checks the kernels against the reference first, and leaves optical
flow out; convolutions in float32 do not use TF32 there. A call is timed by
itself, from Python, and in a queue of twenty, where the host runs ahead. Inputs rotate, so that no
cache holds them. Results are written after each measurement.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pan_mm.ops import persistence_of_appearance, select_backend
from pan_mm.ops.reference import persistence_reference

from .timing import (
    environment,
    median_ms,
    new_parser,
    parse_speed,
    peak_of,
    positive,
    show,
    time_in_turns,
    time_queued,
    write_report,
)

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLIP_LEN, NUM_FILTERS, KERNEL_SIZE = 4, 8, 7
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
CACHE_BYTES = 256 * 2**20  # GPU inputs rotate through more than this, so no run finds them cached


def naive_persistence(frames: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The baseline: convolve all m frames with bias, then m - 1 pairwise distances.

    Args:
        frames (Tensor): Shape (B, m, C, H, W).
        weight (Tensor): Shape (K, C, k, k).
        bias (Tensor): Shape (K,).

    Returns:
        Tensor: Shape (B, m - 1, H, W).
    """
    batch, num_frames, _, height, width = frames.shape
    features = F.conv2d(frames.flatten(0, 1), weight, bias, padding=weight.shape[-1] // 2)
    features = features.view(batch, num_frames, len(weight), -1).transpose(2, 3)
    distances = [
        F.pairwise_distance(features[:, step], features[:, step + 1])
        for step in range(num_frames - 1)
    ]
    return torch.stack(distances, 1).view(batch, num_frames - 1, height, width)


def read_segments(videos: list, batch: int, size: tuple) -> np.ndarray:
    """Read segments of adjacent frames, spread over the videos and scaled to (width, height).

    Returns:
        np.ndarray: RGB, uint8, shape (batch, m, H, W, 3).

    Raises:
        av.error.FFmpegError: If a file is not a video.
        ValueError: If it has too few frames.
    """
    segments = []
    for index, video in enumerate(videos):
        count = batch // len(videos) + (index < batch % len(videos))
        with av.open(str(video)) as container:
            frames = [
                frame.to_rgb(width=size[0], height=size[1], interpolation='AREA').to_ndarray()
                for frame in itertools.islice(container.decode(video=0), 300)
            ]
        if len(frames) < CLIP_LEN:
            raise ValueError(f'{video} has {len(frames)} frames; {CLIP_LEN} are needed')
        starts = np.linspace(0, len(frames) - CLIP_LEN, count).astype(int)
        segments += [np.stack(frames[start : start + CLIP_LEN]) for start in starts]
    return np.stack(segments)


def optical_flows() -> dict:
    """Optical flow methods of OpenCV at their default settings; TV-L1 needs opencv-contrib."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = {
        'Farnebäck': lambda a, b: cv2.calcOpticalFlowFarneback(
            a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0
        ),
        'DIS': lambda a, b: dis.calc(a, b, None),
    }
    if hasattr(cv2, 'optflow'):
        tvl1 = cv2.optflow.DualTVL1OpticalFlow_create()
        flows = {'TV-L1': lambda a, b: tvl1.calc(a, b, None), **flows}
    return flows


def flow_runner(flow: Callable, segment: np.ndarray) -> Callable[[], None]:
    """The flow of all adjacent frames of one segment, as PA makes m - 1 maps of m frames."""
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in segment]

    def run():
        for first, second in zip(gray, gray[1:]):
            flow(first, second)

    return run


def persistence_runners(raw: Tensor, weight: Tensor) -> dict:
    """Each formulation of PA on normalized frames in the dtype of ``weight``."""
    mean, std = (torch.tensor(v, device=raw.device).view(3, 1, 1) for v in (MEAN, STD))
    frames = ((raw - mean) / std).to(weight.dtype)
    functions = formulations(raw, weight)
    functions['frame difference'] = lambda x: (x[:, :-1] - x[:, 1:]).abs().mean(2)
    runners = {name: rotating(function, frames) for name, function in functions.items()}
    for name in fast_backends(raw):
        runners[f'{name}, from uint8'] = rotating(computing(weight, name, STD), raw)
    if is_gpu(raw):  # what training runs: float32, channels last, products of autocast
        given = channels_last(((raw - mean) / std).float())
        for name, function in in_training(raw, weight).items():
            runners[f'{name}, as in training'] = rotating(function, given)
    return runners


def is_gpu(frames: Tensor) -> bool:
    """Tell whether frames are where the kernels for GPUs run."""
    return frames.is_cuda


def fast_backends(frames: Tensor) -> tuple:
    """Backends of PA that are made for a device."""
    return ('triton', 'cuda') if is_gpu(frames) else ('cpu',)


def formulations(frames: Tensor, weight: Tensor) -> dict:
    """Each way to compute PA where frames are, by name; the parameters train if ``weight`` does."""
    bias = weight.new_zeros(len(weight)).requires_grad_(weight.requires_grad)
    return {
        'naive': lambda x: naive_persistence(x, weight, bias),
        'reference': lambda x: persistence_reference(x, weight),
        **{name: computing(weight, name) for name in fast_backends(frames)},
    }


def computing(weight: Tensor, backend: str, std: Optional[tuple] = None) -> Callable:
    """PA by a backend."""
    return lambda x: persistence_of_appearance(x, weight, std=std, backend=backend)


def in_training(frames: Tensor, weight: Tensor) -> dict:
    """Each formulation with filters in float32, under autocast to the dtype of ``weight``."""
    dtype, weight = weight.dtype, weight.detach().float().requires_grad_(weight.requires_grad)

    def under_autocast(function: Callable) -> Callable:
        def run(frames: Tensor) -> Tensor:
            with torch.autocast(frames.device.type, dtype, enabled=dtype != torch.float32):
                return function(frames)

        return run

    functions = formulations(frames, weight)
    return {name: under_autocast(function) for name, function in functions.items()}


def channels_last(frames: Tensor) -> Tensor:
    """The same frames (B, m, C, H, W) with neighboring channels in memory."""
    return frames.movedim(2, -1).contiguous().movedim(-1, 2)


def rotating(function: Callable, frames: Tensor) -> Callable[[], Tensor]:
    """Call a function on equal frames, on a GPU each time on others that no cache holds."""
    copies = CACHE_BYTES // frames.nbytes if is_gpu(frames) else 0
    inputs = itertools.cycle([frames, *(frames.clone() for _ in range(copies))])
    return lambda: function(next(inputs))


def training_runners(raw: Tensor, weight: Tensor) -> dict:
    """Forward and backward to the filters, frames being leaves."""
    frames = (raw / 128 - 1).to(weight.dtype)
    weight = weight.clone().requires_grad_()

    def step(function: Callable, inputs: Tensor) -> Callable:
        return rotating(lambda x: function(x).sum().backward(), inputs)

    functions = formulations(raw, weight)
    runners = {name: step(function, frames) for name, function in functions.items()}
    if is_gpu(raw):
        given = channels_last(raw / 128 - 1)
        for name, function in in_training(raw, weight).items():
            runners[f'{name}, as in training'] = step(function, given)
    return runners


def check_kernels(raw: Tensor, weight: Tensor) -> dict:
    """Largest error of each kernel for a GPU, over the largest value.

    Raises:
        RuntimeError: If one is above 1e-5 in float32, 3e-2 in 16 bits, or did not run.
    """
    frames = (raw / 128 - 1).to(weight.dtype)
    expected = persistence_of_appearance(frames.double(), weight.double(), backend='reference')
    errors = {}
    for name in fast_backends(raw):
        check_that_it_runs(name, frames, weight)
        maps = persistence_of_appearance(frames, weight, backend=name)
        check_that_it_runs(name, frames, weight)
        errors[name] = float((maps - expected).abs().max() / expected.abs().max())
    bound = 1e-5 if weight.dtype == torch.float32 else 3e-2
    if not all(error <= bound for error in errors.values()):
        raise RuntimeError(f'kernels differ from the reference by more than {bound}: {errors}')
    return errors


def check_that_it_runs(backend: str, frames: Tensor, weight: Tensor) -> None:
    """Refuse to time plain PyTorch, which replaces a kernel that cannot run or has failed.

    Raises:
        RuntimeError: If a backend is not what computes.
    """
    taken = select_backend(frames, weight, backend)
    if taken != backend:
        raise RuntimeError(f'{backend} cannot run here: {taken} would be timed')


def measure(segments: np.ndarray, dtype_name: str, args: argparse.Namespace) -> dict:
    dtype = DTYPES[dtype_name]
    raw = torch.from_numpy(segments).permute(0, 1, 4, 2, 3).contiguous().to(args.device)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(NUM_FILTERS, 3, KERNEL_SIZE, KERNEL_SIZE, generator=generator) * 0.05
    weight = weight.to(args.device, dtype)
    result = dict(dtype=dtype_name, batch=len(raw), height=raw.shape[-2], width=raw.shape[-1])
    if is_gpu(raw):
        result['errors'] = check_kernels(raw, weight)
    with torch.no_grad():
        functions = persistence_runners(raw, weight)
        frames_per_call = dict.fromkeys(functions, len(raw) * CLIP_LEN)
        if args.device == 'cpu' and dtype_name == 'float32':
            for name, flow in optical_flows().items():
                functions[name] = flow_runner(flow, segments[0])
                frames_per_call[name] = CLIP_LEN
        seconds = time_in_turns(functions, args.repeats, args.warmup)
    result['methods'] = []
    for name, frames in frames_per_call.items():
        ms = median_ms(seconds[name]) / frames
        row = dict(method=name, frames_per_second=1000 / ms, ms_per_frame=ms)
        if is_gpu(raw):
            row['queued_frames_per_second'] = frames / time_queued(functions[name], args.repeats)
        result['methods'].append(row)
    training = training_runners(raw, weight)
    seconds = time_in_turns(training, max(args.repeats // 2, 1), 1)
    result['training'] = []
    for name, function in training.items():
        peak = peak_of(function, args.device) / 2**20
        row = dict(method=name, ms=median_ms(seconds[name]), peak_mbytes=peak)
        if is_gpu(raw):
            row['queued_ms'] = 1000 * time_queued(function, args.repeats)
        result['training'].append(row)
    for name in fast_backends(raw):  # nor has one failed since
        check_that_it_runs(name, raw.to(dtype), weight)
    return result


def size(text: str) -> tuple:
    """Read a size, such as 224x224."""
    width, height = map(int, text.split('x'))
    return width, height


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__)
    parser.add_argument('videos', nargs='+', type=Path, help='to take frames from')
    parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=['float32', 'bfloat16'])
    parser.add_argument('--batch', type=positive, default=8, help='segments of 4 frames')
    parser.add_argument('--sizes', nargs='+', type=size, default=[(224, 224)], metavar='WxH')
    parser.add_argument('--repeats', type=positive, default=9)
    parser.add_argument('--warmup', type=int, default=2)
    args = parse_speed(parser, argv)
    torch.backends.cudnn.allow_tf32 = False  # no TF32 in the baselines
    report = dict(environment=environment(args.device), results=[])
    for width, height in args.sizes:
        segments = read_segments(args.videos, args.batch, (width, height))
        for dtype in args.dtypes:
            result = dict(threads=args.threads, **measure(segments, dtype, args))
            report['results'].append(result)
            for part in ('methods', 'training'):
                show(f'{part}, {dtype}, {width} × {height}', result[part])
            write_report(args.out, report)


if __name__ == '__main__':
    main()
