#!/usr/bin/env python3
"""Time predictions on a Ray cluster beside one process per core, and compute what many cost.

    python -m benchmarks.ray VIDEO [VIDEO ...] --out results/performance/ray.json

The cluster is two nodes of one core each, on this machine. Clips of MotionShapes and the given
videos, repeated, are recognized both ways, each for about ``--seconds``; the start of the cluster
is left out, and all else is in: imports, the model, reading, writing. Then the stages are timed
by themselves and together, with a model that has a core of its own as it would have a GPU. A
section that is in the file is kept: remove it to measure it again.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

import numpy as np

from benchmarks.compared import ROOT
from pan_mm.apis import PANInferencer
from pan_mm.datasets.motion_shapes.dataset import render_motion_shapes
from pan_mm.inference.videos import read_video

from .timing import environment, new_parser, parse_speed, show, write_report

NODE = dict(num_cpus=1, object_store_memory=300 * 2**20, include_dashboard=False)
ENV = dict(OMP_NUM_THREADS='1', RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
CORES = 2
GPUS, CLIPS = (1, 10, 100), (10**6, 10**9)


def repeated(paths: list, folder: Path, count: int) -> list:
    """Name files often enough, each time by another link."""
    folder.mkdir()
    names = [folder / f'{n:06}{Path(paths[n % len(paths)]).suffix}' for n in range(count)]
    for number, name in enumerate(names):
        name.symlink_to(Path(paths[number % len(paths)]).resolve())
    return list(map(str, names))


def by_processes(videos: list, folder: Path) -> float:
    """Seconds that one ``predict`` per core takes for its share of the videos."""
    began, commands = time.monotonic(), []
    for core in range(CORES):
        share = folder / f'{core}.txt'
        share.write_text(''.join(f'{video}\n' for video in videos[core::CORES]))
        command = [sys.executable, '-m', 'pan_mm', 'predict', f'@{share}', '--device', 'cpu']
        command += ['--out', str(folder / f'{core}.jsonl')]
        commands.append(
            subprocess.Popen(command, env={**os.environ, **ENV}, stderr=subprocess.DEVNULL)
        )
    if any(command.wait() for command in commands):
        raise RuntimeError('predict failed; run it on the videos to see why')
    return time.monotonic() - began


@contextlib.contextmanager
def cluster(*nodes: dict) -> Iterator[Callable]:
    """Start a cluster; gives a function that recognizes videos and returns the seconds."""
    import ray
    from ray.cluster_utils import Cluster

    from pan_mm.deploy.ray import predict_videos

    def predict(videos, **options):
        with tempfile.TemporaryDirectory() as out:
            began = time.monotonic()
            counts = predict_videos(videos, f'{out}/out', dict(device='cpu'), **options)
            if counts['failed'] or counts['written'] != len(videos):
                raise RuntimeError(f'{counts} of {len(videos)} videos')
            return time.monotonic() - began

    Path('/tmp/ray').mkdir(exist_ok=True)  # Ray notes its address there
    with tempfile.TemporaryDirectory(prefix='ray-', dir='/tmp') as folder:
        nodes = [{**NODE, **node} for node in nodes]
        started = Cluster(True, head_node_args=dict(nodes[0], temp_dir=folder))
        try:
            for node in nodes[1:]:
                started.add_node(**node)
            ray.init(started.address, logging_level='error', log_to_driver=False)
            ray.data.DataContext.get_current().enable_progress_bars = False
            yield predict
        finally:
            ray.shutdown()
            started.shutdown()


class Memory(threading.Thread):
    """Proportional memory of all processes that Ray works with, in MiB, every second. Linux."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib, self.is_over = [], threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        while not self.is_over.wait(1):
            self.mib.append(sum(map(self._of, Path('/proc').glob('[0-9]*'))) / 1024)

    def _of(self, process):
        try:
            if b'ray::' not in (process / 'cmdline').read_bytes():
                return 0
            lines = (process / 'smaps_rollup').read_text().splitlines()
        except OSError:  # it has ended
            return 0
        return next(int(line.split()[1]) for line in lines if line.startswith('Pss:'))


def measure_overhead(videos: list, folder: Path, seconds: float) -> dict:
    """Compare the cluster with one process per core on the videos that these do in a time."""
    folder.mkdir()
    few = repeated(videos, folder / 'few', 32)
    first, second = by_processes(few[:8], folder), by_processes(few, folder)
    each = max(second - first, second / 10) / 24  # without the start of Python
    count = max(32, int(seconds / each))
    many = repeated(videos, folder / 'many', count)
    alone = by_processes(many, folder / 'many')
    memory = Memory()
    with cluster({}, {}) as predict:
        memory.start()
        together = predict(many)
        memory.is_over.set()
        memory.join()
    middle = len(memory.mib) // 2
    return dict(
        inputs=count,
        seconds_processes=alone,
        seconds_ray=together,
        overhead=together / alone - 1,
        mib_third_quarter=float(np.median(memory.mib[middle : middle + middle // 2 + 1])),
        mib_last_quarter=float(np.median(memory.mib[middle + middle // 2 :])),
    )


def measure_stages(videos: list, folder: Path, seconds: float) -> dict:
    """Time decoding and the model by themselves, each on a core, and as stages of a job."""
    folder.mkdir()
    inferencer = PANInferencer(device='cpu')
    decode = [rate_of(lambda path: read_video(path, inferencer.pipeline), videos, seconds / 4)]
    repeated(videos, folder / 'given', len(videos))
    command = [sys.executable, ROOT / 'tools/data/resize_videos.py', '--short-side', '144']
    subprocess.run([*command, folder / 'given', folder / 'smaller'], check=True)
    smaller = list(map(str, sorted((folder / 'smaller').iterdir())))
    decode.append(rate_of(lambda path: read_video(path, inferencer.pipeline), smaller, seconds / 4))
    clip, _ = read_video(videos[0], inferencer.pipeline)
    batch = [clip] * inferencer.batch_size
    model = rate_of(inferencer.probabilities, [batch], seconds / 4) * len(batch)
    count = max(64, int(seconds / 2 * min(decode[0], model)))
    few, many = (repeated(videos, folder / str(n), n) for n in (32, count))
    with cluster({}, dict(num_cpus=CORES, num_gpus=1)) as predict:
        # The difference leaves out the start of the actor.
        took = -predict(few, num_gpus=1) + predict(many, num_gpus=1)
    inputs = count - len(few)
    alone = inputs / decode[0], inputs / model
    return dict(
        decoded_per_second=decode[0],
        decoded_per_second_smaller=decode[1],
        recognized_per_second=model,
        inputs=inputs,
        seconds=took,
        seconds_in_turn=sum(alone),
        overlap=(sum(alone) - took) / min(alone),
    )


def rate_of(function: Callable, inputs: list, seconds: float) -> float:
    """Calls per second of a function on inputs in turn, after a first call."""
    function(inputs[0])
    began, calls = time.monotonic(), 0
    while time.monotonic() < began + seconds or calls < len(inputs):
        function(inputs[calls % len(inputs)])
        calls += 1
    return calls / (time.monotonic() - began)


def compute_costs(stages: dict, gpu_rate: float) -> list:
    """Hours for many clips, and the cores that decode as fast as a GPU recognizes.

    Args:
        stages (dict): What :func:`measure_stages` gives.
        gpu_rate (float): Clips per second of a GPU.
    """
    rates = stages['decoded_per_second'], stages['decoded_per_second_smaller']
    before, after = (gpu_rate / rate for rate in rates)
    return [
        dict(
            gpus=gpus,
            clips=clips,
            hours=clips / (gpus * gpu_rate) / 3600,
            cores=before * gpus,
            cores_smaller=after * gpus,
            core_hours=clips / rates[0] / 3600,
        )
        for gpus in GPUS
        for clips in CLIPS
    ]


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument('videos', nargs='+', type=Path, help='real ones')
    parser.add_argument('--seconds', type=float, default=150, help='of each measurement')
    parser.add_argument(
        '--gpu-clips', type=float, default=1000, help='clips/s of a GPU, assumed for the table'
    )
    args = parse_speed(parser, argv)
    os.environ.update(ENV)  # for Ray's processes
    real = list(map(str, args.videos))
    report = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        render_motion_shapes(f'{folder}/shapes', 1, 1, 240)
        shapes = sorted(map(str, Path(folder, 'shapes', 'videos').iterdir()))
        for name, measure, videos in (
            ('motionshapes', measure_overhead, shapes),
            ('real', measure_overhead, real),
            ('stages', measure_stages, real),
        ):
            if name not in report:
                section = measure(videos, Path(folder, name), args.seconds)
                report[name] = dict(section, environment=environment('cpu'))
                write_report(args.out, report[name], name)
            show(name, [{k: v for k, v in report[name].items() if k != 'environment'}])
    report['costs'] = dict(
        gpu_clips_per_second=args.gpu_clips, rows=compute_costs(report['stages'], args.gpu_clips)
    )
    write_report(args.out, report['costs'], 'costs')
    show('computed', report['costs']['rows'])


if __name__ == '__main__':
    main()
