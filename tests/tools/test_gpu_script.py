"""`.ci/gpu` works before there is a GPU: each of its steps, tried on the CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / '.ci' / 'gpu'


def test_shellcheck():
    if shutil.which('shellcheck') is None:
        pytest.skip('shellcheck is not installed')
    result = subprocess.run(['shellcheck', SCRIPT], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


STEPS = subprocess.run([SCRIPT, 'steps'], capture_output=True, text=True).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize('step', STEPS)
def test_dry_run(step, videos, tmp_path):
    pytest.importorskip('triton')
    binaries = Path(sys.executable).parent
    env = dict(os.environ, DEVICE='cpu', PATH=f'{binaries}:{os.environ["PATH"]}')
    env.update(TRITON_INTERPRET='1', OMP_NUM_THREADS='1')
    command = ['bash', SCRIPT, step, tmp_path, videos / '3.mp4']
    done = subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (line,) = (tmp_path / 'steps.txt').read_text().splitlines()
    assert line.split()[1:3] == [step, 'passed']
    if dtype := step.partition('pa-')[2]:
        (result,) = json.loads((tmp_path / f'motion_gpu-{dtype}.json').read_text())['results']
        assert result['dtype'] == dtype and result['training']
    if step == 'training-step':
        report = json.loads((tmp_path / 'recognizer_gpu-training.json').read_text())
        assert {row['model'] for row in report['training']} == {'PAN_Lite', 'TSM'}


def test_a_run_takes_all_steps_and_fails_if_one_does(tmp_path):
    """Of a Python that fails at once; without a dataset there is nothing to train."""
    env = dict(os.environ, DEVICE='none', PATH=f'{tmp_path}:/usr/bin:/bin', PYTHONPATH='')
    (tmp_path / 'python').write_text('#!/bin/sh\nexit 3\n')
    (tmp_path / 'python').chmod(0o755)
    command = ['bash', SCRIPT, 'run', tmp_path / 'out', 'a.mp4']
    done = subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    lines = (tmp_path / 'out' / 'steps.txt').read_text().splitlines()
    assert [line.split()[1] for line in lines] == STEPS
    assert [line.split()[1] for line in lines if 'FAILED' not in line] == ['utd-mhad']
