#!/usr/bin/env python3
"""Time the way from a video file to its label: decoding, pipeline and model.

    python -m benchmarks.file_to_label VIDEO ... --config CONFIG ... --out FILE.json

Models take turns on each video, one at a time, as they are and with ``--optimize``. The weights are
random: they do not change the time.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import torch
from mmengine.dataset import pseudo_collate

from benchmarks.runs import find_config
from pan_mm.config.pipelines import VideoPipeline, video_info
from pan_mm.inference.optimization import optimize
from pan_mm.inference.recognizer import load_config, load_recognizer

from .timing import (
    environment,
    median_ms,
    new_parser,
    parse_speed,
    positive,
    show,
    time_in_turns,
    write_report,
)


def recognizer(config: str, device: str, optimized: bool) -> Callable:
    """Make a function from the path of a video to scores (num_classes,)."""
    cfg = load_config(find_config(config))
    model, read = load_recognizer(cfg, None, device), VideoPipeline(cfg).reader()
    if optimized:
        optimize(model)

    @torch.no_grad()
    def recognize(video):
        (sample,) = model.test_step(pseudo_collate([read(video_info(str(video)))]))
        return sample.pred_score

    return recognize


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__)
    parser.set_defaults(threads=2)
    parser.add_argument('videos', nargs='+', type=Path)
    parser.add_argument('--config', nargs='+', required=True, help='names of configs')
    parser.add_argument('--repeats', type=positive, default=3, help='passes over the videos')
    args = parse_speed(parser, argv)
    functions = {
        (name, is_optimized): recognizer(name, args.device, is_optimized)
        for name in args.config
        for is_optimized in (False, True)
    }
    seconds: dict = {key: [] for key in functions}
    for video in args.videos:
        own = {key: functools.partial(function, video) for key, function in functions.items()}
        for key, times in time_in_turns(own, args.repeats, warmup=1).items():
            seconds[key] += times
    models: dict = {}
    for (name, is_optimized), times in seconds.items():
        key = 'optimized_ms' if is_optimized else 'ms'
        models.setdefault(name, {})[key] = round(median_ms(times), 2)
    show('from file to label', (dict(model=name, **own) for name, own in models.items()))
    about = dict(environment(args.device), dtype='float32', batch=1)
    settings = dict(videos=len(args.videos), repeats=args.repeats)
    write_report(args.out, dict(environment=about, settings=settings, models=models))


if __name__ == '__main__':
    main()
