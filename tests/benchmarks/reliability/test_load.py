"""The load test itself, for a moment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import SMALL

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_fifty_at_once(videos, make_config, make_checkpoint, tmp_path):
    """Each of 50 requests at once is served or refused politely, and nothing is left."""
    pytest.importorskip('uvicorn', reason='the extra demo is not installed')
    config = make_config(more=SMALL)
    checkpoint = make_checkpoint(config)
    command = ['-m', 'benchmarks.reliability.load', '--config', str(config), '--minutes', '0.05']
    command += ['--checkpoint', str(checkpoint), '--video', str(videos / '3.mp4')]
    command += ['--out', str(tmp_path / 'out' / 'load.json')]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / 'out' / 'load.json').read_text())['serve']
    assert result['faults'] == 0
    assert result['left_behind'] == []
    assert result['answers']['good: 200'] > 0
    assert sum(result['answers'].values()) >= 50
    slow = result['beside_slow_clients']
    assert slow['refused'] == 0
    assert set(slow['beside']['answers']) == {'200'}
    assert sum(slow['beside']['slow_clients'].values()) >= 40
