"""What registration must not break."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_names_of_experiments_say_their_import():
    code = """
import pan_mm
from pan_mm.registry import MOVED
from mmaction import registry

for name, (kind, _) in MOVED.items():
    try:
        getattr(registry, kind).build(dict(type=name))
    except ValueError as error:
        print(error)
for name, (kind, module) in MOVED.items():
    __import__(module)
    assert getattr(registry, kind).get(name).__module__.startswith(module)
"""
    env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS='ignore')
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = done.stdout.splitlines()
    assert [line.split()[0] for line in errors] == ['FrameStack', 'MotionCues', 'DistillationHook']
    assert all("imports=['pan_mm', 'projects." in line for line in errors)
