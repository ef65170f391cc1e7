"""Lines for a run's log with which the run can be made again."""

import platform
import shlex
import sys
from pathlib import Path

import mmaction
import mmcv
import numpy as np
import torch

from pan_mm.version import __version__


def describe_run() -> str:
    """List the command, versions that MMEngine leaves out, and the machine, a line each."""
    found = {
        'Command': shlex.join(['python', *sys.argv]),
        'pan_mm': __version__,
        'MMAction2': mmaction.__version__,
        'MMCV': mmcv.__version__,
        'NumPy': np.__version__,
        'Processor': processor_name(),
        'Threads': torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found['GPU'] = torch.cuda.get_device_name()
    return '\n    '.join(['Run:', *(f'{key}: {value}' for key, value in found.items())])


def processor_name() -> str:
    """Name the processor of this machine."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text(encoding='utf-8').splitlines() if cpuinfo.exists() else []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
