"""Interrupts of MMAction2's tools."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(tmp_path):
    options = ['train_dataloader.num_workers=0', 'default_hooks.logger.interval=1']
    options += ['train_dataloader.batch_size=2', 'val_dataloader.num_workers=0']
    command = [sys.executable, ROOT / 'tools/train.py', CONFIG, '--work-dir', tmp_path / 'work']
    process = subprocess.Popen(
        [*command, '--cfg-options', *options],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if 'Epoch(train)' in line:
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    text = ''.join(lines) + rest
    assert process.returncode == 1 and 'Traceback' not in text
    assert text.rstrip().endswith('interrupted; --resume continues from the last checkpoint')
