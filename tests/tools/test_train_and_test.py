"""The main job, run as a user runs it, on a MotionShapes of a few clips."""

import os
import pickle
import re
import subprocess
import sys

import pytest
import torch

from builders import ROOT

pytestmark = pytest.mark.slow

CONFIG = ROOT / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('run')


@pytest.fixture(scope='module')
def run(folder, run_tool):
    """Run a tool in an empty folder, two epochs of 8 clips of few pixels."""
    options = ['train_cfg.max_epochs=2', 'train_cfg.val_begin=2', 'env_cfg.dist_cfg.backend=gloo']
    for split in ('train', 'val', 'test'):
        dataset = f'{split}_dataloader.dataset'
        options += [f'{dataset}.{key}' for key in ('num_train=8', 'num_val=4', 'num_test=4')]
        options += [f'{split}_dataloader.batch_size=4']
        options += [f'{split}_dataloader.num_workers=0']
        options += [f'{split}_dataloader.persistent_workers=False']

    def call(tool, *args, extra=(), check=True):
        args = [CONFIG, *args, '--work-dir', 'work', '--cfg-options', *options, *extra]
        return run_tool(f'tools/{tool}', *args, cwd=folder, check=check)

    call.options = options
    return call


@pytest.fixture(scope='module')
def trained(run, folder):
    run('train.py', '--seed', '1')
    return folder / 'work'


def test_a_published_checkpoint_gets_the_same_scores(trained, run, run_tool, folder):
    published = folder / 'published'
    published.mkdir()
    command = ['publish', 'work/epoch_2.pth', '--out', 'published/pan.pth']
    run_tool('pan_mm', *command, cwd=folder, check=True)
    (path,) = published.iterdir()
    assert path.stat().st_size < 0.55 * (trained / 'epoch_2.pth').stat().st_size
    for checkpoint, dump in (('work/epoch_2.pth', 'whole.pkl'), (path, 'published.pkl')):
        result = run('test.py', checkpoint, '--dump', dump, extra=['work_dir=published_test'])
        assert 'acc/top1' in result.stdout + result.stderr
    whole, own = (
        pickle.loads((folder / f'{name}.pkl').read_bytes()) for name in ('whole', 'published')
    )
    assert len(whole) == 4 and whole[0]['pred_score'].shape == (12,)
    for one, other in zip(whole, own):
        assert torch.equal(one['pred_score'], other['pred_score'])


def test_a_newcomer_sees_no_warnings_of_others(trained, run, folder):
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONWARNINGS'}
    env.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-m', 'pan_mm', 'predict', 'data/motionshapes/videos']
    command += ['--config', CONFIG, '--checkpoint', 'work/epoch_2.pth', '--device', 'cpu']
    command += ['--cfg-options', *run.options]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'warn' not in (done.stdout + done.stderr).lower()
    assert len(done.stdout.splitlines()) == len(list(folder.glob('data/motionshapes/videos/*')))


def test_mistakes_end_in_a_line(run, run_tool):
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
        result = run('train.py', extra=[option], check=False)
        assert result.returncode == 1 and re.search(meant, result.stderr), result.stderr
        assert 'Traceback' not in result.stderr
