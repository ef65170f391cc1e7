"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f'{name} is not available beside the project')
    return path


@pytest.fixture(scope='session')
def parity_dir() -> Path:
    """Folder of the fixtures computed by the authors' code."""
    return _shared('parity')


@pytest.fixture(scope='session')
def clips_dir() -> Path:
    """Folder of real video clips, an MMAction2 ``data_root``."""
    return _shared('data/clips')
