"""A trained run, tested forwards and backwards, and collected."""

import pytest

import pan_mm
from benchmarks.collect import read_work_dir
from benchmarks.compared import CONFIGS

CONFIG = CONFIGS / 'pan' / 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.mark.slow
def test_clips_backwards_and_the_record_of_the_run(run_tool, tmp_path):
    options = ['train_cfg.max_epochs=1']
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options += [f'{loader}.dataset.{key}' for key in ('num_train=8', 'num_val=4', 'num_test=4')]
        options += [f'{loader}.batch_size=4', f'{loader}.num_workers=0']
        options += [f'{loader}.persistent_workers=False']
    arguments = ['--work-dir', 'work', '--cfg-options', *options]
    run_tool('tools/train.py', CONFIG, '--seed', '1', *arguments, cwd=tmp_path, check=True)
    command = [CONFIG, 'work/epoch_1.pth', '--dump', 'scores.pkl', *arguments]
    run_tool('tools/test.py', *command, cwd=tmp_path, check=True)
    run_tool('benchmarks.order_test', 'work', cwd=tmp_path, check=True)
    run = read_work_dir(tmp_path / 'work')
    info = run.info
    assert (info['epochs'], info['seed'], info['split']) == (1, 1, 'test')
    assert info['top1'] in (0, 25, 50, 75, 100)
    assert info['changes']['train_dataloader.dataset.num_train'] == 8
    assert info['command'].startswith('python tools/train.py configs/recognition/pan/')
    assert info['pan_mm'] == pan_mm.__version__
    assert run.scores.shape == run.backwards.shape == (4, 12)
    assert not (run.scores == run.backwards).all()  # PAN reads the order of time
