"""Upstream faults, and processes of their own that meet them."""

import os
import re
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest

from builders import ROOT


@pytest.fixture
def upstream_fault():
    """Context manager around what fails without a repair: ``upstream_fault(name, error, match)``.

    Where it has come to work, the repair is due to go: that is a warning, not a failure.
    """

    @contextmanager
    def expected(name, error, match=''):
        try:
            yield
        except error as raised:
            assert re.search(match, str(raised)), raised
        else:
            warnings.warn(f'the repair {name} is due to go: upstream works', stacklevel=3)

    return expected


@pytest.fixture
def python():
    """Runs a script in a fresh process; ``path`` goes before the project on PYTHONPATH."""

    def run(script, path=()):
        env = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
        env['PYTHONPATH'] = os.pathsep.join(map(str, (*path, ROOT)))
        command = [sys.executable, '-c', script]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return run
