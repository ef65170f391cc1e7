"""Lines for a run's log with which the run can be made again."""

import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import torch

from pan_mm.version import __version__

PACKAGES = {'MMAction2': 'mmaction2', 'MMCV': 'mmcv', 'NumPy': 'numpy'}


def describe_run() -> str:
    """List the command, versions that MMEngine leaves out, and the machine, a line each."""
    lines = [f'Command: {shlex.join(["python", *sys.argv])}', f'pan_mm: {__version__}']
    for name, package in PACKAGES.items():
        lines.append(f'{name}: {_version(package)}')
    lines += [f'Processor: {processor_name()}', f'Threads: {torch.get_num_threads()}']
    if torch.cuda.is_available():
        lines.append(f'GPU: {torch.cuda.get_device_name()}')
    return '\n    '.join(['Run:', *lines])


def _version(package):
    for name in (package, f'{package}-lite'):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return 'none'


def processor_name() -> str:
    """Name the processor of this machine."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
