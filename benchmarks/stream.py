#!/usr/bin/env python3
"""Measure how far streaming lags behind a camera, and whether its memory stays.

    python -m benchmarks.stream VIDEO --config CONFIG [CONFIG ...] --out FILE.json
    python -m benchmarks.stream VIDEO --config CONFIG --fps 300 --seconds 120 \
        --section stream --out results/reliability.json

A video plays in a loop at the speed of a camera and is followed as a live source, late frames
dropped. Latency is from a frame's arrival to the prediction that it completes. Each config is
measured as it is and optimized, for ``--seconds`` each. The weights are random: they do not change
the time. The second command sends more frames than a machine can follow. Linux only.
"""

import itertools
import json
import time
from pathlib import Path
from typing import Optional

import av
import cv2
import numpy as np
from mmengine.config import Config

from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import FrameBuffer, LiveSource
from pan_mm.inference.optimization import optimize
from pan_mm.inference.recognizer import load_recognizer

from .timing import MemoryLog, environment, new_parser, parse_speed, write_report


class PacedVideo:
    """``cv2.VideoCapture`` of frames that come at a fixed rate, in a loop, until ``seconds``.

    At the end it calls ``ended``.
    """

    def __init__(self, images, fps, seconds):
        self.images, self.fps, self.total = images, fps, round(fps * seconds)
        self.ended = lambda: None
        self.count = 0
        self.started = None

    def isOpened(self):  # noqa: N802, OpenCV's name
        return True

    def get(self, prop):
        return 0

    def release(self):
        pass

    def read(self):
        if self.count == self.total:
            self.ended()
            return False, None
        self.started = self.started or time.perf_counter()
        time.sleep(max(0, self.started + self.count / self.fps - time.perf_counter()))
        image = self.images[self.count % len(self.images)]
        self.count += 1
        return True, image


def measure(config, images, args, optimized):
    model = load_recognizer(config, None, args.device)
    if optimized:
        optimize(model)
    pipeline = [
        dict(type='VideoDecode'),
        dict(type='Resize', scale=(-1, round(args.size * 8 / 7))),
        dict(type='CenterCrop', crop_size=args.size),
        dict(type='FormatShape', input_format='NCHW'),
    ]
    recognizer = StreamRecognizer(model, args.stride, pipeline)
    for image in images[: recognizer.first_prediction + 2 * args.stride]:
        recognizer.push(image)  # warm up
    recognizer.reset()
    video = PacedVideo(images, args.fps, args.seconds)
    buffer = FrameBuffer(recognizer.buffer_len, recognizer.starts_segment)
    source = LiveSource(0, buffer, lambda _: video)
    video.ended = source.close
    memory, next_look, latencies, frames, began = MemoryLog(), 0.0, [], 0, time.monotonic()
    for frame in source:
        if time.monotonic() >= next_look:
            memory.look()
            next_look = time.monotonic() + 0.5
        prediction = recognizer.push(frame.image, frame.timestamp, frame.index, frame.captured)
        frames += 1
        if prediction is not None:
            latencies.append(1000 * prediction.latency)
    p50, p95, worst = np.percentile(latencies, [50, 95, 100]).round(2).tolist()
    return dict(
        frames=frames,
        predictions=len(latencies),
        fps=round(frames / (time.monotonic() - began), 2),
        latency_ms=dict(p50=p50, p95=p95, max=worst),
        dropped=buffer.dropped,
        arrived=video.count,
        memory=memory.report(),
    )


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__)
    parser.set_defaults(threads=2)
    parser.add_argument('video', help='played as a camera')
    parser.add_argument('--config', nargs='+', required=True, help='configs of PAN')
    parser.add_argument('--section', help='of an existing JSON file, which keeps the others')
    parser.add_argument('--size', type=int, default=112, help='pixels of the crop')
    parser.add_argument('--fps', type=float, default=25, help='of the camera')
    parser.add_argument('--seconds', type=float, default=40, help='for each measurement')
    parser.add_argument('--stride', type=int, default=8, help='frames between segments')
    args = parse_speed(parser, argv)
    cv2.setNumThreads(1)
    with av.open(args.video) as container:
        frames = itertools.islice(container.decode(video=0), 250)
        images = [frame.to_ndarray(format='bgr24') for frame in frames]
    height, width = images[0].shape[:2]
    result = dict(
        command='benchmarks/stream.py',
        environment=dict(environment(args.device), dtype='float32'),
        camera=dict(fps=args.fps, seconds=args.seconds, width=width, height=height),
        size=args.size,
        stride=args.stride,
        models={},
    )
    for path in args.config:
        variants = result['models'][Path(path).stem] = {}
        for name in ('plain', 'optimized'):
            figures = measure(Config.fromfile(path), images, args, name == 'optimized')
            variants[name] = figures
            print(Path(path).stem, name, json.dumps(figures))
    write_report(args.out, result, args.section)


if __name__ == '__main__':
    main()
