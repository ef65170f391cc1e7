"""What registration must not break."""

import pytest


@pytest.mark.slow
def test_names_of_experiments_say_their_import(run_tool, tmp_path):
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
    (tmp_path / 'script.py').write_text(code)
    errors = run_tool(tmp_path / 'script.py', check=True).stdout.splitlines()
    assert [line.split()[0] for line in errors] == ['FrameStack', 'MotionCues', 'DistillationHook']
    assert all("imports=['pan_mm', 'projects." in line for line in errors)
