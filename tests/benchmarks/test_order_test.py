"""A trained run, tested forwards and backwards, and its record."""

import pytest

import pan_mm
from benchmarks.compared import CONFIGS
from benchmarks.records.collect import collect_run
from benchmarks.records.records import read_record
from benchmarks.records.runs import read_run

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
    row = read_run(tmp_path / 'work')
    assert (row['epochs'], row['seed']) == (1, 1)
    assert row['top1'] in (0, 25, 50, 75, 100)

    command = ['benchmarks.order_test', 'work', '--pairs', '0:1']
    done = run_tool(*command, cwd=tmp_path, check=True)
    assert 'work: forwards ' in done.stdout and 'as partner ' in done.stdout
    path = collect_run(tmp_path / 'work', tmp_path / 'records', CONFIGS.parent)
    record = read_record(path, CONFIGS.parent)
    assert record.changes['train_dataloader.dataset.num_train'] == 8
    assert record.info['commands'][0].startswith('python tools/train.py configs/recognition/pan/')
    assert record.info['environment']['pan_mm'] == pan_mm.__version__
    assert record.scores.shape == record.backwards.shape == (4, 12)
    assert not (record.scores == record.backwards).all()  # PAN reads the order of time
