"""The load test itself, for a moment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.mark.slow
def test_fifty_at_once(videos, tmp_path):
    """Each of 50 requests at once is served or refused politely, and nothing is left."""
    pytest.importorskip('uvicorn', reason='the extra demo is not installed')
    import torch

    from pan_mm.inference.recognizer import load_recognizer

    checkpoint = tmp_path / 'pan.pth'
    torch.save(load_recognizer(CONFIG, device='cpu').state_dict(), checkpoint)
    command = ['-m', 'benchmarks.reliability.load', '--config', str(CONFIG), '--minutes', '0.05']
    command += ['--checkpoint', str(checkpoint), '--video', str(videos / '3.mp4')]
    command += ['--out', str(tmp_path / 'out' / 'load.json')]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / 'out' / 'load.json').read_text())
    assert result['faults'] == 0
    assert result['left_behind'] == []
    assert result['answers']['good: 200'] > 0
    assert sum(result['answers'].values()) >= 50
    slow = result['beside_slow_clients']
    assert slow['refused'] == 0
    assert set(slow['beside']['answers']) == {'200'}
    assert sum(slow['beside']['slow_clients'].values()) >= 40
