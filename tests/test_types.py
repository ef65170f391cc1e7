"""The type checker has nothing to say; its settings are in pyproject.toml."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_mypy(tmp_path):
    if importlib.util.find_spec('mypy') is None:
        pytest.skip('mypy is not installed')
    command = [sys.executable, '-m', 'mypy', '--cache-dir', tmp_path]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
