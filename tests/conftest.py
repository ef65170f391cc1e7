"""Fixtures shared by all tests."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

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


@pytest.fixture(scope='session')
def fixture_value(parity_dir):
    """What the parity fixtures' models hold: ``fixture_value(key, shape)`` as a tensor.

    ``fixture_value.frames()`` is their input, (N, T, m, C, H, W).
    """
    spec = importlib.util.spec_from_file_location(
        'make_checkpoint', parity_dir / 'make_checkpoint.py'
    )
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)

    def value(key, shape):
        return torch.from_numpy(np.ascontiguousarray(rule.value(key, shape)))

    value.frames = lambda: torch.from_numpy(rule.frames())
    return value


@pytest.fixture(scope='session', autouse=True)
def mmaction_scope():
    """Types in configs mean MMAction2's, as under its runner."""
    init_default_scope('mmaction')


@pytest.fixture(scope='session')
def videos(tmp_path_factory) -> Path:
    """Folder of four small videos, ``0.mp4`` … ``3.mp4`` (12, 20, 28, 36 frames, 64 × 48)."""
    folder = tmp_path_factory.mktemp('videos')
    rng = np.random.default_rng(0)
    for index in range(4):
        fourcc = cv2.VideoWriter_fourcc(*'mp4v')
        writer = cv2.VideoWriter(str(folder / f'{index}.mp4'), fourcc, 25, (64, 48))
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (128, 96))
        for frame in range(12 + 8 * index):
            writer.write(np.roll(picture, frame * (index + 1), axis=1)[:48, :64].copy())
        writer.release()
    return folder
