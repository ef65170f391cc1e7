"""The main job, run as a user runs it, on a MotionShapes of a few clips."""

import os
import re
import subprocess
import sys

import pytest

from builders import ROOT

pytestmark = pytest.mark.slow

CONFIG = ROOT / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'
OPTIONS = ['train_cfg.max_epochs=2', 'train_cfg.val_begin=2', 'env_cfg.dist_cfg.backend=gloo']
OPTIONS += [
    f'{split}_dataloader.{option}'
    for split in ('train', 'val', 'test')
    for option in ('batch_size=4', 'num_workers=0', 'persistent_workers=False')
    + ('dataset.num_train=8', 'dataset.num_val=4', 'dataset.num_test=4')
]


@pytest.fixture
def train(tmp_path, run_tool):
    """Train in an empty folder, two epochs of 8 clips of few pixels."""

    def run(*more, check=True):
        args = [CONFIG, '--work-dir', 'work', '--cfg-options', *OPTIONS, *more]
        return run_tool('tools/train.py', *args, cwd=tmp_path, check=check)

    return run


def test_a_newcomer_sees_no_warnings_of_others(train, tmp_path):
    train()
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONWARNINGS'}
    env.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-m', 'pan_mm', 'predict', 'data/motionshapes/videos']
    command += ['--config', CONFIG, '--checkpoint', 'work/epoch_2.pth', '--device', 'cpu']
    command += ['--cfg-options', *OPTIONS]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'warn' not in (done.stdout + done.stderr).lower()
    assert len(done.stdout.splitlines()) == len(list(tmp_path.glob('data/motionshapes/videos/*')))


def test_mistakes_end_in_a_line(train, run_tool):
    result = run_tool('tools/train.py', CONFIG.with_name('pan-light_r18_motionshapes.py'))
    assert result.returncode == 1 and 'no such config file; the nearest: ' in result.stderr
    assert 'Traceback' not in result.stderr
    result = run_tool('tools/train.py', CONFIG, '--work-dir', CONFIG / 'work')
    assert result.returncode == 1 and f"Not a directory: '{CONFIG}/work'" in result.stderr
    assert 'Traceback' not in result.stderr
    for option, meant in (
        ('data_root=/nonexistent', 'set train_dataloader.dataset.data_root and val_dataloader'),
        ('model.backbone.num_segments=4', 'model.backbone.num_segments=4'),
        ('seed', "--cfg-options: 'seed' is not KEY=VALUE"),
    ):
        result = train(option, check=False)
        assert result.returncode == 1 and re.search(meant, result.stderr), result.stderr
        assert 'Traceback' not in result.stderr
