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

    A fault in a module that is not imported yet is repaired when that module is imported,
    so that this call itself stays light.

    Raises:
        ImportError: If a package that PAN needs is missing or of a version that
            MMAction2 refuses; the message says what to install.
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
    """Say of each repair whether it is needed here and whether it is active.

    The modules that the repairs look at are imported first, so that every answer is final.

    Returns:
        list[Status]: Named tuples (name, state, reason, until); ``state`` is ``'active'``,
        ``'not needed'`` in this environment, ``'due to go'`` where upstream has fixed the fault, or
        ``'off'`` where the probe itself failed.
    """
    apply()
    return [repair.status() for repair in REPAIRS]
