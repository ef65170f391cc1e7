"""Repairs of the upstream stack, one file per upstream package.

Each :class:`~pan_mm.compat.repair.Repair` names the upstream fault, probes the installed
stack for it, and is applied only where the fault is present; a healthy stack stays as it
is. Nothing else in the project changes a third party's code.
"""

import os
import warnings

from . import mmaction, mmengine, requirements, torchvision
from .repair import Status, install

REPAIRS = (*torchvision.REPAIRS, *mmengine.REPAIRS, *mmaction.REPAIRS)


def apply() -> None:
    """Apply the repairs that the installed stack needs; a second call changes nothing.

    A fault in a module that is not imported yet is repaired when that module is imported.

    Raises:
        ImportError: If a package that PAN needs is missing or too old; the message says so.
    """
    # Before OpenCV, which reads it once: a small picture may claim a thousand million pixels.
    os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(2**25))
    # mmcv-lite says on import that it lacks an attention layer, which no recognizer here has.
    warnings.filterwarnings(
        'ignore', 'Fail to import ``MultiScaleDeformableAttention``', UserWarning
    )
    requirements.check()
    for repair in REPAIRS:
        install(repair)


def report() -> list[Status]:
    """Import the modules of all repairs, and say of each whether it is active.

    Returns:
        list[Status]: Named tuples (name, state, reason, until); ``state`` is ``'active'``, ``'not
        needed'`` here, or ``'waiting'`` for a package that is not installed.
    """
    apply()
    return [repair.status() for repair in REPAIRS]
