"""Runners of a recognizer that trains in a moment, on the clips of the fixture ``videos``."""

import pytest
from mmengine.registry import RUNNERS

from builders import tiny_config


@pytest.fixture
def make_runner(tmp_path, videos):
    """Builds the runner of a :func:`tiny_config` in the test's folder."""

    def make(names=('0.mp4', '1.mp4', '2.mp4', '3.mp4'), root=videos, folder=tmp_path, **changes):
        folder.mkdir(exist_ok=True)
        return RUNNERS.build(tiny_config(folder, root, names, **changes))

    return make


@pytest.fixture
def log(tmp_path):
    """Reads what a runner has logged."""
    return lambda: ''.join(path.read_text() for path in sorted(tmp_path.rglob('*.log')))
