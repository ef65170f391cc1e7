"""The packages that PAN stands on, looked for before anything imports them."""

import importlib.metadata
import importlib.util

TORCH = '2.6'  # older ones cannot read a checkpoint safely (CVE-2025-32434)
FIXES = dict(
    torch='install PyTorch as https://pytorch.org says for your machine',
    mmengine='pip install "mmengine>=0.10.5,<1.0.0"',
    mmcv='pip install "mmcv-lite>=2.1,<2.2" brings a plain wheel that is enough for PAN; '
    'for compiled operators use: pip install -U openmim && mim install "mmcv>=2.0.1,<2.2.0"',
    mmaction='pip install "mmaction2>=1.2.0,<2.0.0"',
)


def check() -> None:
    """Check that the required packages are there, and the version of PyTorch.

    Raises:
        ImportError: Names the package, and the version found or the fix.
    """
    for module, fix in FIXES.items():
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f'pan_mm needs the package {module!r}, which is not installed. {fix}', name=module
            )
    from mmengine.utils import digit_version

    version = importlib.metadata.version('torch')
    if digit_version(version) < digit_version(TORCH):
        raise ImportError(f'pan_mm needs torch>={TORCH}, but {version} is installed', name='torch')
