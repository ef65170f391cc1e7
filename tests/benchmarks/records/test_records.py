"""Records of runs, from files as MMEngine's runner and DumpResults write them."""

import hashlib
import json
import re

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config

from benchmarks.compared import CONFIGS
from benchmarks.order_test import order_accuracies, play_backwards, read_pairs
from benchmarks.records.collect import collect_run
from benchmarks.records.records import read_record, read_records, write_record
from benchmarks.records.runs import ReportError
from benchmarks.records.settings import (
    changed_settings,
    find_config,
    lists,
    record_name,
    settings,
    settings_of_config,
    split_name,
    without_scale,
)
from pan_mm.utils.errors import DataError

NAME = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'
PATH = CONFIGS / 'tsn' / f'{NAME}.py'
MOTIONSHAPES = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'
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
    """What one run of the runner leaves: of a training, or of a test where there is a dump."""
    (folder / 'vis_data').mkdir(parents=True)
    (folder / f'{folder.name}.log').write_text(LOG.format(seed=seed, name=NAME))
    if shift is None:  # a training
        steps = [dict(loss=3 - e / 18, lr=0.1, epoch=e, step=27 * e, time=0.5) for e in (1, 8, 30)]
        text = '\n'.join(map(json.dumps, steps))
        (folder / 'vis_data' / 'scalars.json').write_text(text)
    else:
        dump = folder.parent / ('backwards.pkl' if backwards else 'forwards.pkl')
        cfg = play_backwards(cfg) if backwards else Config(cfg.to_dict())
        cfg.load_from = f'/a/b/{checkpoint}'
        cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpResults', out_file_path=str(dump))]
        labels = torch.arange(27).repeat(2)
        scores = torch.eye(27)[(labels + shift) % 27] * 5 - LOGIT
        samples = [
            dict(pred_score=score, gt_label=label[None], filename=f'/a/b/{index}.mp4')
            for index, (score, label) in enumerate(zip(scores, labels))
        ]
        mmengine.dump(samples, dump)
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


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'records'


def test_a_record_holds_what_the_run_reached(work_dir, out):
    path = collect_run(work_dir, out, CONFIGS)
    stem = 'tsn_r18_1xb16-1x1x8-30e_seed3'
    assert sorted(p.name for p in out.iterdir()) == [f'{stem}.json', f'{stem}.npz']
    assert path == out / f'{stem}.json' and len(path.read_text().splitlines()) < 30
    record = read_record(path, CONFIGS)
    info = record.info
    assert (info['top1'], info['seed'], info['split'], info['epochs']) == (100, 3, 'test', 30)
    assert info['train_minutes'] == round(30 * 27 * 0.5 / 60, 1)
    assert info['environment']['processor'] == 'Some Processor'
    assert (info['gmacs'], info['params']) == (3.88, 11.19)
    assert info['checkpoint'] == dict(
        file='epoch_30.pth', sha256=hashlib.sha256(str(work_dir).encode()).hexdigest()
    )
    assert record.changes == {} and 'score_digits' not in info
    assert record.clips[28] == ('28.mp4', 1)
    assert (record.backwards.argmax(1) == (record.labels + 1) % 27).all()
    assert record.curve['loss'] == pytest.approx([2.9444, 2.5556, 1.3333])


def test_scores_are_exact(work_dir, out):
    record = read_record(collect_run(work_dir, out, CONFIGS), CONFIGS)
    dumped = torch.stack([s['pred_score'] for s in mmengine.load(work_dir / 'forwards.pkl')])
    assert record.scores.dtype == np.float32
    np.testing.assert_array_equal(record.scores, dumped.numpy())


def test_a_run_of_a_list_of_runs(work_dir, out):
    """Its one test may have another name of dump; the hash of what was tested must hold."""
    digest = hashlib.sha256((work_dir / 'epoch_30.pth').read_bytes()).hexdigest()
    (work_dir / 'finished.json').write_text(json.dumps(dict(sha256=digest)))
    record = read_record(collect_run(work_dir, out, CONFIGS), CONFIGS)
    assert record.info['checkpoint']['sha256'] == digest
    (work_dir / 'epoch_30.pth').write_bytes(b'trained again')
    with pytest.raises(ReportError, match='epoch_30.pth has changed since it was tested'):
        collect_run(work_dir, out, CONFIGS)


def test_a_record_tells_no_places_of_its_machine(work_dir, out):
    path = collect_run(work_dir, out, CONFIGS)
    content = path.read_text() + str(dict(np.load(path.with_suffix('.npz'))))
    assert '/a/b' not in content and str(work_dir) not in content
    (command,) = read_record(path, CONFIGS).info['commands']
    assert command == f'python tools/train.py {NAME}.py --work-dir work'


def test_the_last_test_counts_and_a_second_record_replaces_the_first(work_dir, out):
    collect_run(work_dir, out, CONFIGS)
    (work_dir / '20260101_010000' / '20260101_010000.json').unlink()
    path = collect_run(work_dir, out, CONFIGS)
    assert read_record(path, CONFIGS).backwards is None
    assert len(list(out.iterdir())) == 2


def test_changed_settings_are_in_name_and_record(tmp_path, out):
    work_dir = make_work_dir(tmp_path / 'work', **{'optim_wrapper.optimizer.lr': 0.1})
    path = collect_run(work_dir, out, CONFIGS)
    assert path.stem.startswith('tsn_r18_1xb16-1x1x8-30e_lr-0.1-') and path.stem.endswith('_seed3')
    assert read_record(path, CONFIGS).changes == {'optim_wrapper.optimizer.lr': 0.1}


def test_clips_of_one_name_in_several_folders(work_dir, out):
    samples = mmengine.load(work_dir / 'forwards.pkl')
    for index, sample in enumerate(samples):
        sample['filename'] = f'/a/{index % 27}/{index // 27}.mp4'
    for name in ('forwards.pkl', 'backwards.pkl'):
        mmengine.dump(samples, work_dir / name)
    (work_dir / '20260101_010000' / '20260101_010000.json').unlink()
    record = read_record(collect_run(work_dir, out, CONFIGS), CONFIGS)
    assert record.clips[28] == ('1/1.mp4', 1)


def test_scale_is_told_apart():
    info = dict(config='x_y', split='test', pixels=64, epochs=15, seed=0)
    scale = {
        'train_dataloader.dataset.pipeline.4.input_size': 64,
        'train_cfg.max_epochs': 15,
        'param_scheduler.1.T_max': 15,
    }
    assert without_scale(scale) == {}
    assert record_name(info, scale) == 'x_64px_15e_seed0'
    shorter = {**scale, 'param_scheduler.1.T_max': 9}
    assert without_scale(shorter) == {'param_scheduler.1.T_max': 9}
    assert record_name(info, shorter).startswith('x_64px_15e_T_max-9-')
    assert without_scale({'param_scheduler.0.end': None}) == {'param_scheduler.0.end': None}


def test_names_stay_short_and_differ_where_settings_do():
    info = dict(config='x_y', split='dev', pixels=64, epochs=15, seed=0)
    names = {
        record_name(info, changes)
        for changes in ({'a.lr': 1}, {'b.lr': 1}, {f'a.{"long" * 20}': 1, 'b': 2}, {'b': 2})
    }
    assert len(names) == 4 and all(n.startswith('x_dev_') and len(n) < 45 for n in names)


def test_pairs_of_classes_by_label_or_name():
    assert read_pairs(['0:1', '3:12']) == [(0, 1), (3, 12)]
    assert read_pairs(['stand: sit'], ['sit', 'stand']) == [(1, 0)]
    for text in ('1', '1:1', '1:x', '1:2:3'):
        with pytest.raises(DataError, match='LABEL:LABEL'):
            read_pairs([text])
    with pytest.raises(DataError, match="no class is named 'run'"):
        read_pairs(['run:sit'], ['sit', 'stand'])


def test_splits():
    config = ['train.txt', 'test.txt']
    assert split_name(config, config) == 'test'
    assert split_name(config[::-1], config) == 'swap'
    assert split_name(['dev_train.txt', 'dev_val.txt'], config) == 'dev'
    assert split_name(['train2.txt', 'test2.txt'], config) == 'split2'
    assert split_name(['subject3_train.txt', 'subject3_test.txt'], config) == 'subject3'
    for lists_of_two in (['dev_train.txt', 'test.txt'], ['train.txt', 'train.txt'], ['', 'a.txt']):
        with pytest.raises(ReportError, match='not on the split of the config'):
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
def test_other_splits_are_told_apart(tmp_path, out, name, files):
    changes = {
        f'{split}_dataloader.dataset.ann_file': f'annotations/{file}.txt'
        for split, file in zip(('train', 'test'), files)
    }
    path = collect_run(make_work_dir(tmp_path / 'work', **changes), out, CONFIGS)
    assert path.stem == f'tsn_r18_1xb16-1x1x8-30e_{name}_seed3'
    assert read_record(path, CONFIGS).info['split'] == name


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test_dataloader.dataset.data_root': 'data/other'}, 'of another dataset'),
        ({'test_dataloader.dataset.ann_file': 'annotations/train.txt'}, 'not on the split of'),
    ],
)
def test_other_data(tmp_path, out, changes, message):
    with pytest.raises(ReportError, match=message):
        collect_run(make_work_dir(tmp_path / 'work', **changes), out, CONFIGS)
    assert not out.exists()


def test_a_folder_holds_records_of_one_dataset(work_dir, out):
    out.mkdir()
    (out / 'x_seed0.json').write_text('{"config": "x_motionshapes-rgb"}')
    with pytest.raises(ReportError, match='of utd-mhad-depth, .* records of motionshapes-rgb'):
        collect_run(work_dir, out, CONFIGS)


def test_untested(work_dir, out):
    (work_dir / 'forwards.pkl').unlink()
    with pytest.raises(ReportError, match=r'benchmarks\.order_test'):
        collect_run(work_dir, out, CONFIGS)


def test_scores_of_another_test(work_dir, out):
    (work_dir / 'backwards.pkl').replace(work_dir / 'forwards.pkl')
    with pytest.raises(ReportError, match=r'scores give 0\.00 % top-1.*says 100\.00 %'):
        collect_run(work_dir, out, CONFIGS)


def test_chosen_checkpoint(work_dir, out):
    cfg = Config.fromfile(work_dir / '20260101_000000' / 'vis_data' / 'config.py')
    write_run(work_dir / '20260101_030000', cfg, checkpoint='best_acc_top1_epoch_9.pth')
    with pytest.raises(ReportError, match='best_acc_top1_epoch_9.pth, not with epoch_30.pth'):
        collect_run(work_dir, out, CONFIGS)


def test_several_seeds_in_one_work_dir(work_dir, out):
    cfg = Config.fromfile(work_dir / '20260101_000000' / 'vis_data' / 'config.py')
    write_run(work_dir / '20251231_000000', cfg, seed=4, shift=None)
    with pytest.raises(ReportError, match='logs of several seeds, 3, 4'):
        collect_run(work_dir, out, CONFIGS)


@pytest.fixture
def copies(work_dir, out):
    """A record, and a function that writes a copy of another seed with a changed JSON."""
    first = read_record(collect_run(work_dir, out, CONFIGS), CONFIGS)

    def copy(seed, clips=first.clips, **info):
        info = {**first.info, 'seed': seed, 'checkpoint': dict(sha256=str(seed)), **info}
        path = out / f'tsn_r18_1xb16-1x1x8-30e_seed{seed}.json'
        write_record(first._replace(path=path, info=info, clips=clips))
        return path

    return copy


def test_records_that_do_not_belong_are_named(copies, out):
    """Damaged ones, and those whose config, split, seed or checkpoint does not fit."""
    copies(7), copies(8)
    scores = copies(4).with_suffix('.npz')
    scores.write_bytes(scores.read_bytes()[:-200])
    seed = copies(5).rename(out / 'tsn_r18_1xb16-1x1x8-30e_seed9.json')
    (out / 'tsn_r18_1xb16-1x1x8-30e_seed5.npz').rename(seed.with_suffix('.npz'))
    clips = [(f'other {i}.mp4', i % 27) for i in range(54)]
    wrong = {
        scores.with_suffix('.json'): 'is not a whole record of a run',
        seed: 'its name should be tsn_r18_1xb16-1x1x8-30e_seed5',
        copies(6, clips): 'was tested on other clips than most',
        copies(10, lists=['dev_train.txt', 'dev_val.txt']): 'name should be .*_dev_seed10',
        copies(11, lists=['a.txt', 'b.txt']): 'trained on a.txt and tested on b.txt',
        copies(12, config_hash='0' * 12): 'is not as it was when this was run',
        copies(13, top1=55.5): 'does not tell the accuracy of the scores',
        copies(14, checkpoint=dict(sha256='one')): 'is of the same checkpoint as another',
        copies(16, checkpoint=dict(sha256='one')): 'is of the same checkpoint as another',
    }
    renamed = copies(15)
    renamed.write_text(renamed.read_text().replace(NAME, 'gone_r18_utd-mhad-depth'))
    wrong[renamed] = 'has no config gone_r18_utd-mhad-depth.py'
    records, problems = read_records(out, CONFIGS)
    assert [record.info['seed'] for record in records] == [3, 7, 8]
    assert len(problems) == len(wrong)
    for path, message in wrong.items():
        (problem,) = (text for text in problems if text.startswith(str(path)))
        assert re.search(message, problem), problem


def test_a_record_of_another_dataset_is_left_out(copies, out):
    copies(4)
    other = copies(5)
    (out / 'pan-lite_r18_1xb16-4x1x8-4e_seed5.npz').write_bytes(
        other.with_suffix('.npz').read_bytes()
    )
    _, config_hash, files = settings_of_config(find_config(CONFIGS, MOTIONSHAPES))
    text = json.loads(other.read_text())
    text.update(config=MOTIONSHAPES, config_hash=config_hash, lists=files)
    (out / 'pan-lite_r18_1xb16-4x1x8-4e_seed5.json').write_text(json.dumps(text))
    other.unlink()
    records, (problem,) = read_records(out, CONFIGS)
    assert len(records) == 2 and 'is of another dataset than most' in problem


def test_a_record_of_other_settings_is_not_replaced(work_dir, out):
    path = collect_run(work_dir, out, CONFIGS)
    path.write_text(path.read_text().replace('"changes": {}', '"changes": {"a": 1}'))
    with pytest.raises(ReportError, match='of a run with other settings; remove it first'):
        collect_run(work_dir, out, CONFIGS)


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


def test_order_accuracies():
    labels = np.array([0, 1, 0, 1, 2])
    forwards = np.eye(3)[[0, 1, 0, 0, 2]]
    backwards = np.eye(3)[[1, 0, 0, 2, 0]]
    shares = order_accuracies(forwards, backwards, labels, [(0, 1)])
    assert shares == dict(forwards=80, backwards=20, pairs=75, as_partner=50, as_before=25)
