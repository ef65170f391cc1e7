"""The packages that PAN stands on, checked before anything imports them."""

import importlib
import importlib.util
from typing import NamedTuple, Optional


class Requirement(NamedTuple):
    """A module that must be importable, its versions [``floor``, ``ceiling``), the fix."""

    module: str
    fix: str
    floor: Optional[str] = None
    ceiling: Optional[str] = None


MMCV = (
    'pip install "mmcv-lite>=2.1,<2.2" brings a plain wheel that is enough for PAN; '
    'for compiled operators use: pip install -U openmim && mim install "mmcv>=2.0.1,<2.2.0"'
)
REQUIREMENTS = (
    Requirement('torch', 'install PyTorch as https://pytorch.org says for your machine', '2.6'),
    Requirement('mmengine', 'pip install "mmengine>=0.10.5,<1.0.0"', '0.7.1', '1.0.0'),
    # The bounds that mmaction/__init__.py asserts.
    Requirement('mmcv', MMCV, '2.0.0rc4', '2.2.0'),
    Requirement('mmaction', 'pip install "mmaction2>=1.2.0,<2.0.0"', '1.0.0', '2.0.0'),
)


def check(requirements=REQUIREMENTS) -> None:
    """Raise a clear ImportError for the first missing or unsupported package.

    Raises:
        ImportError: Names the package, the version found, and the fix.
    """
    for module, fix, floor, ceiling in requirements:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f'pan_mm needs the package {module!r}, which is not installed. {fix}',
                name=module,
            )
        if floor is None:
            continue
        from mmengine.utils import digit_version

        version = importlib.import_module(module).__version__
        wanted = f'{module}>={floor}' + (f',<{ceiling}' if ceiling else '')
        found = digit_version(version)
        if found < digit_version(floor) or (ceiling and found >= digit_version(ceiling)):
            raise ImportError(
                f'pan_mm needs {wanted}, but {version} is installed. {fix}', name=module
            )
