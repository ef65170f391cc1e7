"""Runs from files as MMEngine's runner and DumpResults write them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import dump, load
from mmengine.config import Config

from benchmarks.collect import main, read_work_dir
from benchmarks.compared import CONFIGS
from benchmarks.order_test import play_backwards
from benchmarks.runs import add_run, read_runs
from benchmarks.settings import (
    RunError,
    changed_settings,
    lists,
    run_name,
    settings,
    split_name,
    without_scale,
)

NAME = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'
PATH = CONFIGS / 'tsn' / f'{NAME}.py'
LOGIT = 1 / 3  # has no short decimal form
LOG = """
    Python: 3.11.7 (main)
    PyTorch: 2.13.0+cpu
    seed: {seed}
Run:
    Command: python /a/b/tools/train.py /a/b/{name}.py --work-dir /c/d/work
    Processor: Some Processor
"""


def write_run(folder, cfg, backwards=False, seed=3, checkpoint='epoch_30.pth', shift=0):
    """Write the files of a training, or of a test with scores shifted by some classes."""
    (folder / 'vis_data').mkdir(parents=True)
    (folder / f'{folder.name}.log').write_text(LOG.format(seed=seed, name=NAME))
    if shift is None:  # a training
        steps = [dict(loss=3 - e / 18, lr=0.1, epoch=e, step=27 * e, time=0.5) for e in (1, 8, 30)]
        text = '\n'.join(map(json.dumps, steps))
        (folder / 'vis_data' / 'scalars.json').write_text(text)
    else:
        out = folder.parent / ('backwards.pkl' if backwards else 'forwards.pkl')
        cfg = play_backwards(cfg) if backwards else Config(cfg.to_dict())
        cfg.load_from = f'/a/b/{checkpoint}'
        cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpResults', out_file_path=str(out))]
        labels = torch.arange(27).repeat(2)
        scores = torch.eye(27)[(labels + shift) % 27] * 5 - LOGIT
        samples = [
            dict(pred_score=score, gt_label=label[None], filename=f'/a/b/{index}.mp4')
            for index, (score, label) in enumerate(zip(scores, labels))
        ]
        dump(samples, out)
        top1 = float(shift == 0)
        metrics = {'acc/top1': top1, 'acc/top5': 1.0, 'acc/mean1': top1}
        (folder / f'{folder.name}.json').write_text(json.dumps(metrics))
    lines = [f'{key} = {value!r}' for key, value in cfg.to_dict().items()]
    (folder / 'vis_data' / 'config.py').write_text('\n'.join(lines))


def make_work_dir(folder, seed=3, **changes):
    cfg = Config.fromfile(PATH)
    cfg.merge_from_dict(dict(randomness=dict(seed=seed), work_dir=str(folder), **changes))
    cfg.train_dataloader.dataset.data_root = '/a/b/utd_mhad_depth27'
    write_run(folder / '20260101_000000', cfg, seed=seed, shift=None)
    write_run(folder / '20260101_010000', cfg, backwards=True, seed=seed, shift=1)
    write_run(folder / '20260101_020000', cfg, seed=seed)
    (folder / f'{NAME}.py').write_text('')
    (folder / 'epoch_30.pth').write_text(str(folder))
    return folder


@pytest.fixture
def work_dir(tmp_path):
    return make_work_dir(tmp_path / 'work')


def test_a_run_holds_what_was_reached(work_dir, tmp_path):
    run = read_work_dir(work_dir)
    info = run.info
    assert info['run'] == 'tsn_r18_1xb16-1x1x8-30e_seed3' and info['dataset'] == 'utd-mhad-depth'
    assert (info['top1'], info['seed'], info['split'], info['epochs']) == (100, 3, 'test', 30)
    assert info['minutes'] == round(30 * 27 * 0.5 / 60, 1)
    assert (info['processor'], info['python']) == ('Some Processor', '3.11.7')
    assert (info['gmacs'], info['params'], info['pixels']) == (3.88, 11.19, 112)
    assert info['sha256'] == hashlib.sha256(str(work_dir).encode()).hexdigest()
    assert info['loss'] == 1.33333 and info['changes'] == {}
    assert dict(zip(run.clips, run.labels))['28.mp4'] == 1
    assert (run.backwards.argmax(1) == (run.labels + 1) % 27).all()
    dumped = {Path(s['filename']).name: s['pred_score'] for s in load(work_dir / 'forwards.pkl')}
    for clip, scores in zip(run.clips, run.scores):
        np.testing.assert_array_equal(scores, dumped[clip].numpy())
    add_run(run, tmp_path / 'results')
    (back,), problems = read_runs(tmp_path / 'results')
    assert problems == [] and back.accuracies == run.accuracies


def test_a_run_of_a_list_of_runs(work_dir):
    """Its one test may have another name of dump; the hash of what was tested must hold."""
    digest = hashlib.sha256((work_dir / 'epoch_30.pth').read_bytes()).hexdigest()
    (work_dir / 'finished.json').write_text(json.dumps(dict(sha256=digest)))
    assert read_work_dir(work_dir).info['sha256'] == digest
    (work_dir / 'epoch_30.pth').write_bytes(b'trained again')
    with pytest.raises(RunError, match='epoch_30.pth has changed since it was tested'):
        read_work_dir(work_dir)


def test_no_folder_of_the_machine_is_kept(work_dir):
    run = read_work_dir(work_dir)
    content = str(run.info) + str(run.clips)
    assert '/a/b' not in content and str(work_dir) not in content
    assert run.info['command'] == f'python tools/train.py {NAME}.py --work-dir work'


def test_a_log_without_a_command_gets_one(tmp_path):
    changes = {'optim_wrapper.optimizer.lr': 0.1}
    for split, name in (('train', 'dev_train'), ('test', 'dev_val')):
        changes[f'{split}_dataloader.dataset.ann_file'] = f'annotations/{name}.txt'
    work_dir = make_work_dir(tmp_path / 'work', **changes)
    log = work_dir / '20260101_000000' / '20260101_000000.log'
    log.write_text(log.read_text().replace('Command', 'Other'))
    assert read_work_dir(work_dir).info['command'] == (
        f'python tools/train.py configs/recognition/tsn/{NAME}.py --seed 3 --cfg-options '
        'optim_wrapper.optimizer.lr=0.1 '
        'train_dataloader.dataset.ann_file=annotations/dev_train.txt '
        'test_dataloader.dataset.ann_file=annotations/dev_val.txt'
    )


def test_the_last_test_counts(work_dir):
    (work_dir / '20260101_010000' / '20260101_010000.json').unlink()
    assert read_work_dir(work_dir).backwards is None


def test_changed_settings_are_in_the_name(tmp_path):
    run = read_work_dir(make_work_dir(tmp_path / 'work', **{'optim_wrapper.optimizer.lr': 0.1}))
    assert run.info['run'].startswith('tsn_r18_1xb16-1x1x8-30e_lr-0.1-')
    assert run.info['changes'] == {'optim_wrapper.optimizer.lr': 0.1}


def test_clips_of_one_name_in_several_folders(work_dir):
    samples = load(work_dir / 'forwards.pkl')
    for index, sample in enumerate(samples):
        sample['filename'] = f'/a/{index % 27}/{index // 27}.mp4'
    for name in ('forwards.pkl', 'backwards.pkl'):
        dump(samples, work_dir / name)
    (work_dir / '20260101_010000' / '20260101_010000.json').unlink()
    run = read_work_dir(work_dir)
    assert dict(zip(run.clips, run.labels))['1/1.mp4'] == 1


@pytest.mark.parametrize(
    'why',
    [
        'the monitored metric did not improve in the last 2 records. best score: 0.1.',
        'Stopping threshold reached: `acc/top1` = 0.9 is greater than 0.8',
    ],
)
def test_early_stop(tmp_path, why):
    """MMEngine's EarlyStoppingHook logs one of these lines, here in epoch 30 of 60."""
    work_dir = make_work_dir(tmp_path / 'work', **{'train_cfg.max_epochs': 60})
    with pytest.raises(RunError, match='stopped in epoch 30 of 60; .*--resume'):
        read_work_dir(work_dir)
    with (work_dir / '20260101_000000' / '20260101_000000.log').open('a') as log:
        log.write(f'{why}\n')
    assert read_work_dir(work_dir).info['epochs'] == 30


def test_the_command_adds_runs_and_names_the_others(work_dir, tmp_path, capsys):
    results = tmp_path / 'results'
    with pytest.raises(SystemExit) as stopped:
        main([str(work_dir), str(tmp_path / 'none'), '--results', str(results)])
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert 'tsn_r18_1xb16-1x1x8-30e_seed3 top1 100.0 %' in captured.out
    assert captured.err == f'left out: {tmp_path}/none: it holds no log of a training\n'
    assert [run.seed for run in read_runs(results)[0]] == [3]
    (work_dir / 'epoch_30.pth').unlink()
    with pytest.raises(SystemExit):
        main([str(work_dir), '--results', str(results)])
    assert '--resume' in capsys.readouterr().err


def test_scale_is_told_apart():
    info = dict(config='x_y', split='test', pixels=64, epochs=15, seed=0)
    scale = {
        'train_dataloader.dataset.pipeline.4.input_size': 64,
        'train_cfg.max_epochs': 15,
        'param_scheduler.1.T_max': 15,
    }
    assert without_scale(scale) == {}
    assert run_name(dict(info, changes=scale)) == 'x_64px_15e_seed0'
    shorter = {**scale, 'param_scheduler.1.T_max': 9}
    assert without_scale(shorter) == {'param_scheduler.1.T_max': 9}
    assert run_name(dict(info, changes=shorter)).startswith('x_64px_15e_T_max-9-')
    assert without_scale({'param_scheduler.0.end': None}) == {'param_scheduler.0.end': None}


def test_names_stay_short_and_differ_where_settings_do():
    info = dict(config='x_y', split='dev', pixels=64, epochs=15, seed=0)
    names = {
        run_name(dict(info, changes=changes))
        for changes in ({'a.lr': 1}, {'b.lr': 1}, {f'a.{"long" * 20}': 1, 'b': 2}, {'b': 2})
    }
    assert len(names) == 4 and all(n.startswith('x_dev_') and len(n) < 45 for n in names)


def test_splits():
    config = ['train.txt', 'test.txt']
    assert split_name(config, config) == 'test'
    assert split_name(config[::-1], config) == 'swap'
    assert split_name(['dev_train.txt', 'dev_val.txt'], config) == 'dev'
    assert split_name(['train2.txt', 'test2.txt'], config) == 'split2'
    assert split_name(['subject3_train.txt', 'subject3_test.txt'], config) == 'subject3'
    for lists_of_two in (['dev_train.txt', 'test.txt'], ['train.txt', 'train.txt'], ['', 'a.txt']):
        with pytest.raises(RunError, match='not on the split of the config'):
            split_name(lists_of_two, config)


def test_lists_of_datasets_within_datasets():
    """Where the lists lie is not a setting, at no depth."""
    cfg = Config.fromfile(PATH)
    inner = cfg.train_dataloader.dataset
    wrapped = dict(type='RepeatDataset', times=2, dataset=inner)
    cfg.train_dataloader.dataset = wrapped
    assert lists(cfg) == ['train.txt', 'test.txt']
    before = settings(cfg)
    inner.ann_file = 'annotations/other_train.txt'
    cfg.train_dataloader.dataset = wrapped
    assert settings(cfg) == before and lists(cfg)[0] == 'other_train.txt'


@pytest.mark.parametrize(
    ('name', 'files'), [('dev', ('dev_train', 'dev_val')), ('swap', ('test', 'train'))]
)
def test_other_splits_are_told_apart(tmp_path, name, files):
    changes = {
        f'{split}_dataloader.dataset.ann_file': f'annotations/{file}.txt'
        for split, file in zip(('train', 'test'), files)
    }
    info = read_work_dir(make_work_dir(tmp_path / 'work', **changes)).info
    assert (info['run'], info['split']) == (f'tsn_r18_1xb16-1x1x8-30e_{name}_seed3', name)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test_dataloader.dataset.data_root': 'data/other'}, 'used another dataset'),
        ({'test_dataloader.dataset.ann_file': 'annotations/train.txt'}, 'not on the split of'),
    ],
)
def test_other_data(tmp_path, changes, message):
    with pytest.raises(RunError, match=message):
        read_work_dir(make_work_dir(tmp_path / 'work', **changes))


def test_untested(work_dir):
    (work_dir / 'forwards.pkl').unlink()
    with pytest.raises(RunError, match=r'benchmarks\.order_test'):
        read_work_dir(work_dir)


def test_scores_of_another_test(work_dir):
    (work_dir / 'backwards.pkl').replace(work_dir / 'forwards.pkl')
    with pytest.raises(RunError, match=r'scores give 0\.00 % top-1.*says 100\.00 %'):
        read_work_dir(work_dir)


def test_chosen_checkpoint(work_dir):
    cfg = Config.fromfile(work_dir / '20260101_000000' / 'vis_data' / 'config.py')
    write_run(work_dir / '20260101_030000', cfg, checkpoint='best_acc_top1_epoch_9.pth')
    with pytest.raises(RunError, match='best_acc_top1_epoch_9.pth, not with epoch_30.pth'):
        read_work_dir(work_dir)


def test_several_seeds_in_one_work_dir(work_dir):
    cfg = Config.fromfile(work_dir / '20260101_000000' / 'vis_data' / 'config.py')
    write_run(work_dir / '20251231_000000', cfg, seed=4, shift=None)
    with pytest.raises(RunError, match='logs of several seeds, 3, 4'):
        read_work_dir(work_dir)


def test_a_config_is_equal_to_itself_wherever_it_runs():
    cfg, base = Config.fromfile(PATH), Config.fromfile(PATH)
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.data_root': '/x',
            'train_dataloader.num_workers': 0,
            'resume': True,
            'load_from': '/a/work/epoch_3.pth',
            'randomness': dict(seed=1),
        }
    )
    assert changed_settings(settings(cfg), settings(base)) == {}
    cfg.resume = False
    del cfg.model.cls_head['dropout_ratio']
    assert changed_settings(settings(cfg), settings(base)) == {
        'load_from': 'work/epoch_3.pth',
        'model.cls_head.dropout_ratio': None,
    }
