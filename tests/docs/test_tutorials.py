"""The tutorials in docs/tutorials do what they say, one after the other in one folder."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builders import free_port

ROOT = Path(__file__).resolve().parents[2]
MAIN = 'pan_mm/__main__.py'  # what `-m pan_mm` runs
TUTORIALS = sorted((ROOT / 'docs' / 'tutorials').glob('*.md'))
BLOCK = re.compile(r'^```(python|shell)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


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
    served = None
    for tutorial in TUTORIALS:
        names = {}
        blocks = BLOCK.findall(tutorial.read_text(encoding='utf-8'))
        assert blocks, tutorial
        for language, code in blocks:
            if 'timm.' in code and not importlib.util.find_spec('timm'):
                continue
            if language == 'python':
                exec(compile(code, str(tutorial), 'exec'), names)
                continue
            if 'pan_mm serve' not in code:
                tool, *args = code.replace('\\\n', ' ').replace('-m pan_mm', MAIN).split()[1:]
                run_tool(tool, *args, cwd=tmp_path, check=True)
                continue
            if not importlib.util.find_spec('uvicorn'):
                continue
            done = subprocess.run(
                ['bash', '-e', '-c', code.replace('7861', free_port())],
                env=dict(os.environ, PATH=path, PYTHONPATH=str(ROOT)),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f'{tutorial.name}: {code}\n{done.stdout}\n{done.stderr}'
            served = done.stdout
    assert Path('runs/own/epoch_40.pth').is_file()
    assert served is None or '"top":' in served
