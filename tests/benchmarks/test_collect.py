"""Trainings of a list are tested and recorded; what does not belong to the records is named."""

import hashlib
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config

from benchmarks import collect, run_list
from benchmarks.collect import (
    changes_of,
    clip_names,
    collect_ensemble,
    lists,
    main,
    play_backwards,
    read_training,
    scenes_of,
    split_name,
)
from benchmarks.runs import ROOT, RunError, find_config, read_runs

UTD = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'
SHAPES = 'tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb'
LITE = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'


@pytest.mark.parametrize('path', sorted(ROOT.glob('benchmarks/*.yml')), ids=lambda p: p.stem)
def test_committed_lists(path):
    runs = [*run_list.commands(yaml.safe_load(path.read_text(encoding='utf-8')), Path('out'))]
    assert len({folder for folder, _ in runs}) == len(runs) > 0


def test_a_list_is_configs_times_seeds_in_order(tmp_path):
    first = dict(configs=[SHAPES], seeds=[0, 1])
    second = dict(configs=[SHAPES], changes={'a.lr': 2, 'b.scale': [-1, 72]})
    *others, (folder, words) = run_list.commands([first, second], tmp_path)
    assert [own.name for own, _ in others] == [f'{SHAPES}_seed0', f'{SHAPES}_seed1']
    assert folder.name.startswith(f'{SHAPES}_lr-2_scale-') and folder.name.endswith('_seed0')
    options = ['--seed', '0', '--cfg-options', 'a.lr=2', 'b.scale=[-1,72]']
    assert words == [find_config(SHAPES), '--work-dir', folder, *options]
    with pytest.raises(RunError, match='has no config tsx.py'):
        list(run_list.commands([dict(configs=['tsx'])], tmp_path))


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
def worked(tmp_path_factory, run_tool):
    """A list whose run is cut off and continued; what is recorded before and after."""
    folder = tmp_path_factory.mktemp('list')
    path, results = folder / 'list.yml', folder / 'results'
    path.write_text(yaml.safe_dump([dict(configs=[SHAPES], seeds=[3], changes=tiny(folder))]))
    words = [str(path), '--out', str(folder / 'out'), '--results', str(results)]

    def forked(*command):
        """Run a command in a process that need not import PyTorch first."""
        program, *words = (word for word in command if word != '-m')
        run_tool(program, *words, cwd=ROOT, check=True)
        called.append(program)

    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_list, 'call', forked)
        run_list.main(words)
        (first,) = read_runs(results)
        (work_dir,) = (folder / 'out').iterdir()
        (work_dir / 'collected').unlink()
        (work_dir / 'epoch_2.pth').unlink()
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
        time.sleep(1)  # MMEngine names a folder of logs by the second
        for _ in range(2):  # the second time there is nothing to do
            run_list.main(words)
    assert called == ['tools/train.py', 'benchmarks.collect'] * 2
    (last,) = read_runs(results)
    return folder, work_dir, first, last


@pytest.mark.slow
def test_a_run_holds_what_was_reached(worked):
    """In the end, whether it was cut off or not."""
    folder, work_dir, first, last = worked
    assert (work_dir / 'collected').exists()
    assert first.clips.tolist() == last.clips.tolist()
    for run in (first, last):
        assert run.scores.shape == run.backwards.shape == (4, 12)
        np.testing.assert_allclose(run.scores, run.backwards, atol=1e-2)  # TSN reads no order
    info = last.info
    assert info['run'].startswith('tsn_r18_1xb16-1x1x8-4e_2e_') and info['run'].endswith('_seed3')
    assert (info['dataset'], info['config'], info['seed']) == ('motionshapes-rgb', SHAPES, 3)
    scale = [info[key] for key in ('split', 'epochs', 'batch_size', 'pixels')]
    assert scale == ['test', 2, 2, 48]
    assert info['changes']['model.cls_head.in_channels'] == 64
    assert not any('data_root' in key or 'workers' in key for key in info['changes'])
    assert info['device'] in ('CPU', 'GPU') and info['python'].startswith('3.')
    assert 0 < info['gmacs'] < 3 and 0 < info['params'] < 1 and 1 < info['loss'] < 5
    checkpoint = (work_dir / 'epoch_2.pth').read_bytes()
    assert info['sha256'] == hashlib.sha256(checkpoint).hexdigest()
    own, resumed = info['command'].split('; ')
    assert own.startswith(f'python tools/train.py configs/recognition/tsn/{SHAPES}.py --work-dir ')
    assert '--resume' in resumed and '--resume' not in own and str(folder) not in str(info)
    assert len(last.clips) == len(set(last.clips)) == 4 and str(folder) not in str(last.clips)
    _, steps, _ = read_training(work_dir)
    assert [step['step'] for step in steps] == [4, 8]
    assert info['minutes'] == round(sum(4 * step['time'] for step in steps) / 60, 1)


@pytest.mark.slow
def test_streams_are_tested_together(tmp_path, run_tool, monkeypatch):
    """Fused with itself, a stream has its own scores, and twice the cost."""
    options = tiny(tmp_path)
    for key in [key for key in options if key.startswith('model.backbone.')]:
        options[key.replace('model.backbone.', 'model.backbone.backbone.')] = options.pop(key)
    options['model.backbone.backbone.type'] = 'ResNetTSM'
    options['model.backbone.backbone.is_shift'] = False
    words = [f'{key}={value}'.replace(' ', '') for key, value in options.items()]
    work_dir = tmp_path / 'lite'
    words = ['--work-dir', work_dir, '--seed', '0', '--cfg-options', *words]
    run_tool('tools/train.py', find_config(LITE), *words, cwd=ROOT, check=True)
    path = tmp_path / 'pan-twice_4x1x8_motionshapes-rgb.py'
    streams = 'streams=dict(lite=dict(), other=dict(weight=0.5))'
    path.write_text(
        f"_base_ = [{str(find_config(LITE))!r}]\nmodel = dict(type='PANEnsemble', {streams})"
    )
    monkeypatch.setattr(
        collect, 'find_config', lambda n: path if n == path.stem else find_config(n)
    )
    work_dirs = dict(lite=work_dir, other=work_dir)
    both = collect_ensemble(path.stem, work_dirs, tmp_path / 'both.pth', options)
    alone = collect.collect(work_dir)
    np.testing.assert_allclose(both.scores, alone.scores, atol=1e-4)
    np.testing.assert_allclose(both.backwards, alone.backwards, atol=1e-4)
    assert (both.info['config'], both.info['loss']) == (path.stem, None)
    for key in ('gmacs', 'params', 'minutes'):
        assert both.info[key] == pytest.approx(2 * alone.info[key], abs=0.02)
    assert both.info['changes'] == alone.info['changes'] and '; ' in both.info['command']
    with pytest.raises(ValueError, match='the streams of the config are'):
        collect_ensemble(path.stem, dict(lite=work_dir), tmp_path / 'both.pth', options)


@pytest.mark.slow
def test_a_training_that_did_not_finish_is_named(worked, tmp_path):
    with pytest.raises(SystemExit, match='error: .*none: it holds no log of a training'):
        main([str(tmp_path / 'none'), '--results', str(tmp_path)])
    checkpoint = worked[1] / 'epoch_2.pth'
    checkpoint.rename(tmp_path / 'away.pth')
    with pytest.raises(SystemExit, match='stopped in epoch 2 of 2; continue it with .* --resume'):
        main([str(worked[1]), '--results', str(tmp_path)])
    (tmp_path / 'away.pth').rename(checkpoint)
    assert not (tmp_path / 'runs.csv').exists()


@pytest.mark.slow
def test_a_failing_training_ends_the_list(tmp_path):
    groups = [dict(configs=[SHAPES], changes={'train_cfg.max_epoch': 1})]
    (tmp_path / 'list.yml').write_text(yaml.safe_dump(groups))
    with pytest.raises(subprocess.CalledProcessError, match='tools/train.py'):
        run_list.main([str(tmp_path / 'list.yml'), '--out', str(tmp_path / 'out')])


def test_options_that_change_no_score_are_left_out():
    command = 'python tools/train.py a.py --seed 0 --amp --cfg-options model.depth=18'
    places = 'train_dataloader.num_workers=0 test_dataloader.dataset.data_root=/data'
    assert changes_of(f'{command} {places}') == {'model.depth': 18, '--amp': True}
    assert changes_of('python tools/train.py a.py') == {}


def test_backwards_is_before_the_decoder():
    cfg = Config.fromfile(find_config(UTD))
    steps = [step['type'] for step in cfg.test_dataloader.dataset.pipeline]
    mirrored = [step['type'] for step in play_backwards(cfg).test_dataloader.dataset.pipeline]
    place = mirrored.index('ReverseFrames')
    assert mirrored[place + 1] == 'VideoDecode'
    assert mirrored[:place] + mirrored[place + 1 :] == steps


def test_clips_of_one_name_in_several_folders():
    samples = [dict(filename=f'/a/{index % 2}/{index // 2}.mp4') for index in range(4)]
    assert clip_names(samples) == ['0/0.mp4', '1/0.mp4', '0/1.mp4', '1/1.mp4']
    assert clip_names(samples[::2]) == ['0.mp4', '1.mp4']
    with pytest.raises(RunError, match='a clip is in the test twice'):
        clip_names([*samples, samples[0]])


def test_splits():
    config = ['train.txt', 'test.txt']
    assert lists(Config.fromfile(find_config(UTD))) == config
    assert split_name(config, config) == 'test'
    assert split_name(config[::-1], config) == 'swap'
    assert split_name(['dev_train.txt', 'dev_val.txt'], config) == 'dev'
    assert split_name(['train2.txt', 'test2.txt'], config) == 'split2'
    assert split_name(['subject3_train.txt', 'subject3_test.txt'], config) == 'subject3'
    for lists_of_two in (['dev_train.txt', 'test.txt'], ['train.txt', 'train.txt'], ['', 'a.txt']):
        with pytest.raises(RunError, match='not on the split of the config'):
            split_name(lists_of_two, config)


def test_scenes_are_numbered_over_all_folds(tmp_path):
    """In each fold the same, by the list beside the annotations."""
    rows = ['video,label,scene', 'a.mp4,0,wall', 'b.mp4,1,door', 'c.mp4,0,wall', 'd.mp4,2,lawn']
    (tmp_path / 'scenes.csv').write_text('\n'.join(rows))
    own = tmp_path / 'fold0_test.txt'
    assert scenes_of(['videos/c.mp4', 'videos/d.mp4', 'videos/a.mp4'], own).tolist() == [2, 1, 2]
    assert scenes_of(['b.mp4'], own).tolist() == [0]
    with pytest.raises(KeyError, match='x.mp4'):
        scenes_of(['a.mp4', 'x.mp4'], own)
    assert scenes_of(['a.mp4'], tmp_path / 'annotations' / 'test.txt') is None
