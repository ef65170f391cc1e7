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


@pytest.mark.slow
def test_dry_run(videos, tmp_path):
    pytest.importorskip('triton')
    binaries = Path(sys.executable).parent
    env = dict(os.environ, DEVICE='cpu', PATH=f'{binaries}:{os.environ["PATH"]}')
    env.update(TRITON_INTERPRET='1', OMP_NUM_THREADS='1')
    command = ['bash', SCRIPT, 'run', tmp_path, videos / '3.mp4']
    done = subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    steps = subprocess.run([SCRIPT, 'steps'], capture_output=True, text=True).stdout.split()
    lines = (tmp_path / 'steps.txt').read_text().splitlines()
    assert [line.split()[1:3] for line in lines] == [[step, 'passed'] for step in steps]
    for dtype in ('float32', 'bfloat16', 'float16'):
        (result,) = json.loads((tmp_path / f'motion_gpu-{dtype}.json').read_text())['results']
        assert result['dtype'] == dtype and result['training']
    report = json.loads((tmp_path / 'recognizer_gpu-training.json').read_text())
    assert {row['model'] for row in report['training']} == {'PAN_Lite', 'TSM'}
