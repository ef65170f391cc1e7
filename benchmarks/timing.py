"""Time, memory, environment and result files of all benchmarks."""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Optional, Union

import cv2
import pandas as pd
import torch
from torch.utils.benchmark import timer

import pan_mm
from pan_mm.utils.environment import processor_name
from pan_mm.utils.files import write_text


def time_in_turns(functions: dict, repeats: int, warmup: int) -> dict:
    """Time functions in turns, so that all meet the same machine.

    Args:
        functions (dict[str, Callable]): By name, without arguments.
        repeats (int): Timed runs of each.
        warmup (int): Runs of each before the first timed one.

    Returns:
        dict[str, list[float]]: Seconds of each function's runs, a GPU's work included.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = timer()  # waits for a GPU
            function()
            seconds[name].append(timer() - began)
    return seconds


def time_queued(function: Callable[[], object], repeats: int, calls: int = 20) -> float:
    """Time calls with the next one waiting on a GPU, so that the host does not count.

    Args:
        function (Callable): Without arguments; it starts work on the current GPU.
        repeats (int): Rows of calls; their median counts.
        calls (int): Calls of a row. Defaults to 20.

    Returns:
        float: Seconds of a call.
    """
    milliseconds = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(10_000_000)  # some ms, in which the host gets ahead
        begin.record()
        for _ in range(calls):
            function()
        end.record()
        end.synchronize()
        milliseconds.append(begin.elapsed_time(end) / calls)
    return statistics.median(milliseconds) / 1000


def median_ms(seconds: list) -> float:
    """Median of some runs, in ms."""
    return statistics.median(seconds) * 1000


def peak_of(function: Callable[[], object], device: str) -> int:
    """Most bytes that PyTorch held at once during a call, above its start."""
    if device == 'cpu':
        return _cpu_peak(function)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _cpu_peak(function):
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        function()
    events = profiler.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def environment(device: str) -> dict:
    """Describe what a speed depends on: device, versions, other load, date.

    Args:
        device (str): 'cpu', 'cuda', or one of several GPUs such as 'cuda:1'.
    """
    return dict(
        device=processor_name() if device == 'cpu' else torch.cuda.get_device_name(device),
        capability=torch.backends.cpu.get_cpu_capability() if device == 'cpu' else None,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        tf32=None if device == 'cpu' else torch.backends.cudnn.allow_tf32,
        load_before=round(os.getloadavg()[0], 2),
        pan_mm=pan_mm.__version__,
        torch=torch.__version__,
        triton=importlib.util.find_spec('triton') and metadata.version('triton'),
        **{name: metadata.version(name) for name in ('mmaction2', 'numpy')},
        opencv=cv2.__version__,
        python=platform.python_version(),
        date=datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
    )


def show(title: str, rows: Iterable) -> None:
    """Print rows as a table."""
    table = pd.DataFrame(rows).to_string(index=False, na_rep='', float_format='{:.4g}'.format)
    print(f'{title}\n{table}\n', flush=True)


def new_parser(doc: str, device: bool = True) -> argparse.ArgumentParser:
    """Make the parser of a script, described by its docstring.

    Args:
        doc (str): The docstring.
        device (bool): Have the options of all speeds: ``--device``, ``--threads`` and ``--out``.
            Defaults to True.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=raw)
    if device:
        parser.add_argument('--out', type=Path, help='JSON file to write')
        parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
        threads = torch.get_num_threads()
        parser.add_argument('--threads', type=positive, default=threads, help='of PyTorch, OpenCV')
    return parser


def parse_speed(parser: argparse.ArgumentParser, argv: Optional[list]) -> argparse.Namespace:
    """Parse the arguments of a speed benchmark, and set its number of threads.

    It exits with a message if a video is missing or a GPU is asked for where there is none.
    """
    args = parser.parse_args(argv)
    for video in getattr(args, 'videos', ()):
        if not video.is_file():
            parser.error(f'{video} is not a file')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda, but PyTorch sees no GPU')
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    return args


def positive(text: str) -> int:
    """Read a number of at least 1 from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


class MemoryLog:
    """Resident memory of a process over time, in MiB. Linux only."""

    def __init__(self, pid: Union[int, str] = 'self') -> None:
        self.status = Path(f'/proc/{pid}/status')
        self.began = time.monotonic()
        self.seconds: list = []
        self.mib: list = []
        self.look()

    def look(self) -> None:
        """Add a point."""
        lines = self.status.read_text().splitlines()
        resident = next(line for line in lines if line.startswith('VmRSS'))
        self.mib.append(int(resident.split()[1]) / 1024)
        self.seconds.append(time.monotonic() - self.began)

    def report(self) -> dict:
        """First and highest values, rounded."""
        half = len(self.mib) // 2
        return dict(
            before=round(self.mib[0]),
            highest_of_first_half=round(max(self.mib[: half + 1])),
            highest_of_second_half=round(max(self.mib[half:])),
        )


def write_report(path: Optional[Path], report: dict, section: Optional[str] = None) -> None:
    """Write a result file as JSON, whole or not at all; its folder is made.

    Args:
        path (Path, optional): The file; without it nothing is written.
        report (dict): Its content.
        section (str, optional): Replace only this part of the file.
    """
    if path is None:
        return
    if section:
        others = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
        report = {**others, section: report}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(report, indent=1, ensure_ascii=False) + '\n')
