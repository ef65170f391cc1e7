"""Versions, devices and repairs of an installation, its faults, and a training step to try it."""

import platform
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Optional

import av
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.optim import OptimWrapper

from . import compat
from .utils import register_all_modules
from .version import __version__

PACKAGES = (
    *('torch', 'torchvision', 'triton', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'numpy'),
    *('opencv-python', 'opencv-contrib-python', 'opencv-python-headless', 'av', 'decord', 'timm'),
    *('moviepy', 'tensorboard', 'onnx', 'onnxruntime', 'setuptools', 'pip', 'openmim', 'openxlab'),
)
CODECS = ('h264', 'hevc', 'vp9', 'libdav1d')  # the last reads AV1


def versions() -> list:
    """List rows (name, version) of Python, pan_mm and the installed packages that matter."""
    found = {dist.metadata['Name']: dist.version for dist in metadata.distributions()}
    found = {name.replace('_', '-').lower(): version for name, version in found.items() if name}
    system = f'{platform.system()} {platform.machine()}, {sys.executable}'
    rows = [('python', f'{platform.python_version()} ({system})'), ('pan_mm', __version__)]
    return rows + [(name, found[name]) for name in PACKAGES if name in found]


def decoder() -> list:
    """List the row (name, version, codecs) of what decodes videos."""
    codecs = [name for name in CODECS if name in av.codecs_available]
    return [(f'PyAV {av.__version__}', f'FFmpeg {av.ffmpeg_version_info}', ' '.join(codecs))]


def accelerators() -> list:
    """List rows (device, name, memory) of the accelerators that torch can use."""
    rows = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        rows.append((f'cuda:{index}', device.name, f'{device.total_memory / 2**30:.0f} GiB'))
    if torch.backends.mps.is_available():
        rows.append(('mps', 'Apple GPU', ''))
    return rows


def repairs() -> list:
    """List rows (name, reason and end) of the active repairs of :mod:`pan_mm.compat`."""
    active = [repair for repair in compat.report() if repair.state == 'active']
    return [(repair.name, f'{repair.reason}; until {repair.until}') for repair in active]


def find_warnings() -> list:
    """List what ``pip check`` finds, and a GPU that torch cannot use."""
    command = [sys.executable, '-m', 'pip', 'check', '--disable-pip-version-check']
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    found = (checked.stdout + checked.stderr).splitlines() if checked.returncode else []
    if shutil.which('nvidia-smi') and not torch.cuda.is_available():
        found.append(
            f'nvidia-smi is here, but torch {torch.__version__} finds no CUDA device; install a '
            'CUDA build of torch that fits the driver, or the CPU is used'
        )
    return found


def try_training(device: str) -> Optional[str]:
    """Run one training step of a small PAN model.

    Args:
        device (str): Such as 'cpu' or 'cuda'.

    Returns:
        str | None: Why it fails, or None.
    """
    register_all_modules()
    backbone = dict(type='ResNet', depth=18, pretrained=None, norm_eval=False)
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCHW'),
            backbone=dict(type='PANBackbone', num_segments=2, backbone=backbone),
            cls_head=dict(type='VAPHead', num_classes=2, in_channels=512, num_segments=2),
        )
    )
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 1)]
    frames = [torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8) for _ in samples]
    try:
        model.to(device).train()
        optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        model.train_step(dict(inputs=frames, data_samples=samples), optim_wrapper)
    except Exception as error:  # of torch, numpy, mmcv or a driver
        return f'{type(error).__name__}: {error}'
    return None
