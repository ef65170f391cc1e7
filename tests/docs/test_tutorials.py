"""The tutorials in docs/tutorials do what they say, one after the other in one folder.

But for ``compare``, which tests/cli/test_compare.py runs.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import ROOT, code_blocks, free_port

MAIN = 'pan_mm/__main__.py'  # what `-m pan_mm` runs


@pytest.mark.slow
def test_tutorials(tmp_path, monkeypatch, run_tool):
    for name in ('configs', 'tools'):  # what lies in a clone
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'bin').mkdir()
    python = tmp_path / 'bin' / 'python'
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    path = f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}'
    served, names = None, {}  # by the file
    for place, language, code in code_blocks(['python', 'shell'], 'docs/tutorials/*.md'):
        if 'pan_mm compare' in code:
            continue
        if 'timm.' in code and not importlib.util.find_spec('timm'):
            continue
        if language == 'python':
            own = names.setdefault(place.partition(':')[0], {})
            exec(compile(code, place, 'exec'), own)
        elif 'pan_mm serve' not in code:
            tool, *args = code.replace('\\\n', ' ').replace('-m pan_mm', MAIN).split()[1:]
            run_tool(tool, *args, cwd=tmp_path, check=True)
        elif importlib.util.find_spec('uvicorn'):
            done = subprocess.run(
                ['bash', '-e', '-c', code.replace('7861', free_port())],
                env=dict(os.environ, PATH=path, PYTHONPATH=str(ROOT)),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f'{place}: {code}\n{done.stdout}\n{done.stderr}'
            served = done.stdout
    assert Path('runs/own/epoch_20.pth').is_file()
    assert served is None or '"top":' in served
