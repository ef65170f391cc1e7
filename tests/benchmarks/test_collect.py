"""Trainings of a list are tested and recorded; what does not belong to the records is named."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config

from benchmarks import run_list
from benchmarks.collect import clip_names, collect, main, play_backwards, read_training
from benchmarks.compared import CONFIGS
from benchmarks.run_list import read_list
from benchmarks.runs import ROOT, read_runs
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
SHAPES = 'tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb'


def write_list(folder, *groups):
    path = folder / 'list.yml'
    path.write_text(yaml.safe_dump(list(groups)))
    return path


class TestList:
    @pytest.mark.parametrize('path', sorted(ROOT.glob('benchmarks/*.yml')), ids=lambda p: p.stem)
    def test_committed_lists(self, path):
        runs = read_list(path)
        assert runs and all((ROOT / run.config).is_file() for run in runs)

    def test_groups_are_configs_times_seeds_in_order(self, tmp_path):
        first = dict(configs=[SHAPES], seeds=[0, 1])
        second = dict(first, seeds=[0], tag='lr2', options={'a.lr': 2, 'b.scale': [-1, 72]})
        *others, last = read_list(write_list(tmp_path, first, second))
        assert [run.name for run in others] == [f'{SHAPES}_seed0', f'{SHAPES}_seed1']
        assert (last.name, last.seed) == (f'{SHAPES}_lr2_seed0', 0)
        config = f'configs/recognition/tsn/{SHAPES}.py'
        words = ['--work-dir', str(tmp_path), '--seed', '0']
        options = ['--cfg-options', 'a.lr=2', 'b.scale=[-1,72]']
        assert last.training(tmp_path)[1:] == ['tools/train.py', config, *words, *options]

    @pytest.mark.parametrize(
        ('group', 'message'),
        [
            (dict(configs=[SHAPES]), "group 1: .*'seeds'"),
            (dict(configs=['tsx'], seeds=[0]), 'there is no config tsx'),
            (dict(configs=[SHAPES], seeds=[0, 0]), f'{SHAPES}_seed0 is there twice'),
            (dict(configs=[SHAPES], seeds=[0], lr=1), "group 1: .*'lr'"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, group, message):
        path = write_list(tmp_path, group)
        with pytest.raises(RunError, match=message):
            read_list(path)
        with pytest.raises(SystemExit, match='error: .*list.yml|error: there is no config'):
            run_list.main([str(path), '--out', str(tmp_path / 'out')])
        assert not (tmp_path / 'out').exists()


def tiny(folder):
    """Options of a training on a few clips of few pixels, rendered into a folder."""
    options = {'train_cfg.max_epochs': 2, 'train_cfg.val_begin': 2}
    options['env_cfg.dist_cfg.backend'] = 'gloo'
    stage = dict(type='ResNet', num_stages=1, strides=[1], dilations=[1], out_indices=[0])
    options.update({f'model.backbone.{key}': value for key, value in stage.items()})
    options['model.cls_head.in_channels'] = 64
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options.update({f'{loader}.batch_size': 2, f'{loader}.num_workers': 0})
        options[f'{loader}.persistent_workers'] = False
        sizes = dict(num_train=8, num_val=2, num_test=4, size=48)
        sizes['data_root'] = f'{folder}/motionshapes'
        options.update({f'{loader}.dataset.{key}': value for key, value in sizes.items()})
    return options


@pytest.fixture(scope='module')
def forked(run_tool):
    """Runs a command of a list in a process that need not import PyTorch first."""

    def call(command, output):
        done = run_tool(*(word for word in command[1:] if word != '-m'))
        output.write(done.stdout + done.stderr)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command)

    return call


@pytest.fixture(scope='module')
def worked(tmp_path_factory, forked):
    """A list whose run fails, and one whose run is cut off and continued."""
    folder = tmp_path_factory.mktemp('list')
    group = dict(configs=[SHAPES], seeds=[3], options=tiny(folder))
    bad = dict(group, tag='bad', options={**tiny(folder), 'model.cls_head.in_channels': 63})
    work_dir = folder / 'out' / f'{SHAPES}_seed3'
    words = ['--out', str(folder / 'out'), '--results', str(folder / 'results')]
    with pytest.raises(SystemExit) as stopped:
        run_list.main([str(write_list(folder, bad)), *words])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_list, 'call', forked)
        found = list(work_twice(folder, work_dir, group, words))
    return folder, work_dir, str(stopped.value), found


def work_twice(folder, work_dir, group, words):
    """Do a list, and again as if the run had been cut off; yields what is recorded."""
    path, results = str(write_list(folder, group)), folder / 'results'
    run_list.main([path, *words])
    yield read_runs(results)
    (work_dir / 'collected').unlink()
    (work_dir / 'epoch_2.pth').unlink()
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    for _ in range(2):  # the second time there is nothing to do
        run_list.main([path, *words])
    yield read_runs(results)


@pytest.mark.slow
def test_a_failing_run_is_named_and_the_others_are_recorded(worked):
    folder, work_dir, end, found = worked
    assert end == f'failed: {SHAPES}_bad_seed3; see output.txt in each folder'
    output = (folder / 'out' / f'{SHAPES}_bad_seed3' / 'output.txt').read_text()
    assert 'in_channels=63, but the feature maps of model.backbone have 64' in output
    for runs, problems in found:
        assert problems == [] and [run.seed for run in runs] == [3]
    assert (work_dir / 'collected').exists() and len(list(work_dir.glob('*/*.log'))) == 6


@pytest.mark.slow
def test_a_run_that_another_process_does_is_passed_over(worked, capsys):
    folder, work_dir, *_ = worked
    (work_dir / 'collected').rename(work_dir / 'away')
    with open(work_dir / 'output.txt') as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        group = dict(configs=[SHAPES], seeds=[3], options=tiny(folder))
        run_list.main([str(write_list(folder, group)), '--out', str(folder / 'out')])
    (work_dir / 'away').rename(work_dir / 'collected')
    assert capsys.readouterr().out == f'{SHAPES}_seed3 runs in another process\n'


@pytest.mark.slow
def test_a_run_holds_what_was_reached(worked):
    """In the end, whether it was cut off or not."""
    folder, work_dir, _, found = worked
    (first,), (last,) = (runs for runs, _ in found)
    assert first.clips.tolist() == last.clips.tolist()
    for run in (first, last):
        assert run.scores.shape == run.backwards.shape == (4, 12)
        np.testing.assert_allclose(run.scores, run.backwards, atol=1e-2)  # TSN reads no order
    info = last.info
    assert info['run'].startswith('tsn_r18_1xb16-1x1x8-4e_2e_') and info['run'].endswith('_seed3')
    assert (info['dataset'], info['config']) == ('motionshapes-rgb', SHAPES)
    scale = [info[key] for key in ('split', 'epochs', 'batch_size', 'pixels')]
    assert scale == ['test', 2, 2, 48]
    assert info['changes']['model.cls_head.in_channels'] == 64
    assert info['device'] in ('CPU', 'GPU') and info['python'].startswith('3.')
    assert 0 < info['gmacs'] < 3 and 0 < info['params'] < 1 and 1 < info['loss'] < 5
    checkpoint = (work_dir / 'epoch_2.pth').read_bytes()
    assert info['sha256'] == hashlib.sha256(checkpoint).hexdigest()
    own, resumed = info['command'].split('; ')
    assert own.startswith(f'python tools/train.py configs/recognition/tsn/{SHAPES}.py --work-dir ')
    assert '--resume' in resumed and '--resume' not in own and str(folder) not in str(info)
    assert len(last.clips) == len(set(last.clips)) == 4 and str(folder) not in str(last.clips)
    steps = read_training(work_dir).steps
    assert [step['step'] for step in steps] == [4, 8]
    assert info['minutes'] == round(sum(4 * step['time'] for step in steps) / 60, 1)


@pytest.fixture
def work_dir(worked, tmp_path):
    return Path(shutil.copytree(worked[1], tmp_path / 'work'))


@pytest.mark.slow
def test_the_command_adds_runs_and_names_the_others(work_dir, tmp_path, capsys):
    results = tmp_path / 'results'
    with pytest.raises(SystemExit) as stopped:
        main([str(work_dir), str(tmp_path / 'none'), '--results', str(results)])
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert f'left out: {tmp_path}/none: it holds no log of a training\n' in captured.err
    ((run,), _) = read_runs(results)
    assert f'{run.info["run"]} top1 {run.accuracies["top1"]:.1f} %' in captured.out
    (work_dir / 'epoch_2.pth').unlink()
    with pytest.raises(SystemExit):
        main([str(work_dir), '--results', str(results)])
    assert 'the training stopped in epoch 2 of 2; continue it with tools/train.py --resume' in (
        capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'test_dataloader.dataset.data_root': 'data/other'}, 'used another dataset'),
        ({'test_dataloader.dataset.ann_file': 'annotations/train.txt'}, 'not on the split of'),
    ],
)
def test_other_data(work_dir, options, message):
    with pytest.raises(RunError, match=message):
        collect(work_dir, options)


@pytest.mark.slow
def test_several_seeds_in_one_work_dir(work_dir):
    (log,) = sorted(work_dir.glob('*/*.log'))[:1]
    log.write_text(log.read_text().replace('seed: 3', 'seed: 4'))
    with pytest.raises(RunError, match='logs of several seeds, 3, 4'):
        read_training(work_dir)


def test_backwards_is_before_the_decoder():
    cfg = Config.fromfile(PATH)
    steps = [step['type'] for step in cfg.test_dataloader.dataset.pipeline]
    mirrored = [step['type'] for step in play_backwards(cfg).test_dataloader.dataset.pipeline]
    place = mirrored.index('ReverseFrames')
    assert mirrored[place + 1] == 'VideoDecode'
    assert mirrored[:place] + mirrored[place + 1 :] == steps
    cfg.test_dataloader.dataset.pipeline = [dict(type='PackActionInputs')]
    with pytest.raises(ValueError, match='no decoder'):
        play_backwards(cfg)


def test_clips_of_one_name_in_several_folders():
    samples = [dict(filename=f'/a/{index % 2}/{index // 2}.mp4') for index in range(4)]
    assert clip_names(samples) == ['0/0.mp4', '1/0.mp4', '0/1.mp4', '1/1.mp4']
    assert clip_names(samples[::2]) == ['0.mp4', '1.mp4']
    with pytest.raises(RunError, match='a clip is in the test twice'):
        clip_names([*samples, samples[0]])


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
