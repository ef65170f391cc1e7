"""What is installed, what of it is broken, and how to fix it.

Runs also where ``import pan_mm`` fails, so nothing but the standard library is imported here
before it is tried.
"""

import importlib
import importlib.util
import platform
import re
import shutil
import sys
from importlib import metadata
from typing import NamedTuple, Optional

import pan_mm

PACKAGES = (
    *('torch', 'torchvision', 'triton', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'numpy'),
    *('opencv-python', 'opencv-contrib-python'),
    *('opencv-python-headless', 'opencv-contrib-python-headless'),
    *('decord', 'av', 'torchcodec', 'moviepy', 'tensorboard', 'onnx', 'onnxruntime', 'uvicorn'),
    *('importlib_metadata', 'setuptools', 'pip', 'openmim', 'openxlab'),
)

# module → (distribution, its role here)
DECODERS = {
    'av': ('av', 'first choice of VideoInit, which the configs use; reads AV1'),
    'decord': ('decord', 'second choice'),
    'cv2': ('opencv-python', 'third choice'),
    'torchcodec': ('torchcodec', 'not used by MMAction2'),
}

NOT_OURS = {
    'numpy': 'pip install --force-reinstall numpy',
    'cv2': 'pip install --force-reinstall --no-deps opencv-python; where libGL or libgthread is '
    'missing: apt install libgl1 libglib2.0-0, or opencv-python-headless instead.',
}


class Finding(NamedTuple):
    """One problem.

    ``level`` is 'fault' where training cannot work, 'warning' where something else cannot.
    """

    level: str
    what: str
    fix: str


def version_of(package: str) -> Optional[str]:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple:
    """``'2.13.0+cpu'`` → ``(2, 13, 0)``."""
    return tuple(int(n) for n in re.findall(r'\d+', version.partition('+')[0])[:3])


def failure_of(module: str) -> Optional[Exception]:
    """The exception that importing a module raises, None where it can be imported."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return error
    return None


def versions() -> list:
    """Rows (name, version) of Python, pan_mm and the installed packages that matter."""
    system = f'{platform.system()} {platform.machine()}, {sys.executable}'
    rows = [('python', f'{platform.python_version()} ({system})'), ('pan_mm', pan_mm.__version__)]
    return rows + [(name, version_of(name)) for name in PACKAGES if version_of(name)]


def decoders() -> list:
    """Rows (name, version or error, use) of the installed packages that decode video."""
    rows = []
    for module, (package, use) in DECODERS.items():
        if importlib.util.find_spec(module):
            error = failure_of(module)
            found = f'cannot be imported: {error}' if error else version_of(package) or 'found'
            rows.append((module, found, use))
    return rows


def accelerators() -> list:
    """Rows (device, name, memory) of the accelerators that torch can use."""
    if failure_of('torch'):
        return []
    import torch

    rows = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            rows.append((f'cuda:{index}', device.name, f'{device.total_memory / 2**30:.0f} GiB'))
    if torch.backends.mps.is_available():
        rows.append(('mps', 'Apple GPU', ''))
    return rows


def repairs() -> list:
    """Rows (name, reason and end) of the active repairs of :mod:`pan_mm.compat`."""
    if pan_mm.import_error:
        return []
    return [
        (r.name, f'{r.reason}; until {r.until}')
        for r in pan_mm.compat.report()
        if r.state == 'active'
    ]


def examine() -> list:
    """Find all problems, the ones that keep a training from running first.

    Where no fault is found by looking, one training step of a small PAN model is run.

    Returns:
        list[Finding]: Faults, then warnings.
    """
    faults = find_faults()
    if not faults:
        faults = try_training()
    return faults + find_warnings()


def find_faults() -> list:
    """Find what makes ``import pan_mm`` fail."""
    faults = [
        Finding('fault', f'`import {module}` fails: {error}', fix)
        for module, fix in NOT_OURS.items()
        for error in [failure_of(module)]
        if error
    ]
    if faults:  # everything below imports these
        return faults
    from .compat import requirements

    for requirement in requirements.REQUIREMENTS:
        try:
            requirements.check([requirement])
        except Exception as error:
            if faults and getattr(error, 'name', None) != requirement.module:
                continue  # it fails because of another that is listed
            what = str(error).replace(requirement.fix, '').strip()
            faults.append(Finding('fault', what, requirement.fix))
    if not faults and pan_mm.import_error:
        what = f'`import pan_mm` fails: {pan_mm.import_error!r}'
        faults.append(Finding('fault', what, 'Reinstall the package that it names.'))
    return faults


def try_training() -> list:
    """Run one training step of a small PAN model on the device that a Runner would use."""
    import torch
    from mmaction.registry import MODELS
    from mmaction.structures import ActionDataSample
    from mmengine.device import get_device
    from mmengine.optim import OptimWrapper
    from mmengine.utils.dl_utils import collect_env

    from .utils import register_all_modules

    try:
        register_all_modules()
        collect_env()  # every Runner does
        model = MODELS.build(
            dict(
                type='Recognizer2D',
                data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCHW'),
                backbone=dict(
                    type='PANBackbone',
                    num_segments=2,
                    backbone=dict(type='ResNet', depth=18, pretrained=None, norm_eval=False),
                ),
                cls_head=dict(type='VAPHead', num_classes=2, in_channels=512, num_segments=2),
            )
        ).to(get_device())
        optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        samples = [ActionDataSample().set_gt_label(label) for label in (0, 1)]
        frames = [torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8) for _ in samples]
        model.train().train_step(dict(inputs=frames, data_samples=samples), optim_wrapper)
    except Exception as error:
        what = f'a training step on {get_device()} fails: {type(error).__name__}: {error}'
        fix = 'Check that torch, numpy and mmcv fit one another: python -m pip check.'
        return [Finding('fault', what, fix)]
    return []


def find_warnings() -> list:
    """Find what does not stop a training, but something else that a user may want."""
    return [Finding('warning', *found) for check in CHECKS for found in check()]


def check_mmcv():
    if version_of('mmcv') and version_of('mmcv-lite'):
        yield (
            'mmcv and mmcv-lite are both installed; the later one has overwritten the other.',
            'pip uninstall mmcv mmcv-lite, then install one of them.',
        )


def check_opencv():
    found = [name for name in PACKAGES if name.startswith('opencv') and version_of(name)]
    if len({version_of(name) for name in found}) > 1:
        listed = ', '.join(f'{name} {version_of(name)}' for name in found)
        # Not every release of one exists for the other; the older most likely exists for both.
        version = min(map(version_of, found), key=numbers)
        wanted = ' '.join(f'{name}=={version}' for name in found)
        yield (
            f'{listed} both write the folder cv2; the later install has overwritten the other.',
            f'pip install --force-reinstall --no-deps {wanted}. Do not uninstall just one of them.',
        )


def check_pkg_resources():
    if importlib.util.find_spec('pkg_resources') is None:
        yield (
            f'setuptools {version_of("setuptools") or "(missing)"} has no pkg_resources. mim, and '
            "tools other than pan_mm's on `_base_ = 'package::config'`, fail without it.",
            'pip install "setuptools>=77.0.3,<82"',
        )


def check_torchvision():
    error = version_of('torchvision') and failure_of('torchvision')
    if error:
        yield (
            f'torchvision {version_of("torchvision")} does not fit torch {version_of("torch")}: '
            f'{error}. With pan_mm its networks work, or it counts as absent; MMAction2 by itself '
            'stops at it.',
            'install the build that fits, or pip uninstall torchvision if you use no timm.NAME or '
            'torchvision.NAME as backbone.',
        )


def check_decoders():
    if failure_of('av'):
        yield 'PyAV cannot be imported; only raw frames can be read.', 'pip install "av>=17.1"'
    elif failure_of('decord'):
        yield (
            'decord cannot be imported; configs with DecordInit fail.',
            'In those configs, replace DecordInit and DecordDecode by VideoInit and VideoDecode.',
        )


def check_accelerator():
    if shutil.which('nvidia-smi') and not failure_of('torch'):
        import torch

        if not torch.cuda.is_available():
            yield (
                f'nvidia-smi is here, but torch {torch.__version__} finds no CUDA device.',
                'Install a CUDA build of torch that fits the driver; else the CPU is used.',
            )


def check_moviepy():
    if numbers(version_of('moviepy') or '') >= (2,):
        yield (
            f'moviepy {version_of("moviepy")} has no moviepy.editor; MMAction2 then says that '
            'moviepy is not installed, and writes no video.',
            'pip install "moviepy<2"',
        )


def check_mim():
    if not version_of('openmim'):
        return
    if numbers(version_of('pip') or '0') < (24, 1):
        yield (
            f'pip {version_of("pip")}: `mim install` with it starts a source build of mmcv.',
            'python -m pip install "pip>=24.1"',
        )
    if numbers(version_of('openxlab') or '0') > (0, 0, 11):
        yield (
            f'openxlab {version_of("openxlab")}, which mim brings, pins setuptools 60 and old rich '
            'and requests; torch and others want newer ones.',
            'pip install "openxlab<=0.0.11" "setuptools>=77.0.3,<82" --upgrade rich requests',
        )


def check_requirements():
    """What ``pip check`` reports about the packages that matter."""
    if failure_of('packaging'):
        return
    from packaging.requirements import Requirement

    for name in ('pan_mm', *PACKAGES):
        if name == 'openxlab' or not version_of(name):  # check_mim says more about openxlab
            continue
        for line in metadata.requires(name) or []:
            wanted = Requirement(line)
            if wanted.marker and not wanted.marker.evaluate({'extra': ''}):
                continue
            found = version_of(wanted.name)
            if not found or not wanted.specifier.contains(found, prereleases=True):
                yield (
                    f'{name} {version_of(name)} wants {wanted}, and {found or "nothing"} is there.',
                    f'pip install "{wanted.name}{wanted.specifier}"',
                )


CHECKS = (
    check_mmcv,
    check_opencv,
    check_pkg_resources,
    check_torchvision,
    check_decoders,
    check_accelerator,
    check_moviepy,
    check_mim,
    check_requirements,
)
