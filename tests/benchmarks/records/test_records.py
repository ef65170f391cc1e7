"""Records of runs, from files as MMEngine's runner and DumpResults write them."""

import json
import re
import shutil

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config

from benchmarks.order_test import order_accuracies, play_backwards
from benchmarks.pages.results import CONFIGS
from benchmarks.records.records import (
    changed_settings,
    collect_run,
    read_record,
    read_records,
    record_name,
    settings,
    without_scale,
)
from benchmarks.records.runs import ReportError

NAME = 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth'
PATH = CONFIGS / 'tsn' / f'{NAME}.py'
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
        scores = torch.eye(27)[(labels + shift) % 27] * 5 - 2.34567
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
    (folder / 'epoch_30.pth').touch()
    return folder


@pytest.fixture
def work_dir(tmp_path):
    return make_work_dir(tmp_path / 'work')


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'records'


def test_a_record_holds_what_the_run_reached(work_dir, out):
    folder = collect_run(work_dir, out, CONFIGS)
    assert folder == out / f'{NAME}_seed3'
    files = {path.name for path in folder.iterdir()}
    assert files == {'run.json', 'config.json', 'curve.json', 'scores.csv', 'backwards.csv'}
    record = read_record(folder, CONFIGS)
    assert (record.info['top1'], record.info['seed'], record.info['split']) == (100, 3, 'test')
    assert record.info['train_minutes'] == round(30 * 27 * 0.5 / 60, 1)
    assert record.info['environment']['processor'] == 'Some Processor'
    assert (record.info['gmacs'], record.info['params']) == (3.88, 11.19)
    assert record.changes == {}
    assert record.clips[28] == ('28.mp4', 1)
    np.testing.assert_allclose(record.scores[0, :2], [2.6543, -2.3457])
    assert (record.backwards.argmax(1) == (record.labels + 1) % 27).all()
    assert [line['loss'] for line in record.curve] == pytest.approx([2.9444, 2.5556, 1.3333])


def test_a_record_tells_no_places_of_its_machine(work_dir, out):
    folder = collect_run(work_dir, out, CONFIGS)
    text = ''.join(path.read_text() for path in folder.iterdir())
    assert '/a/b' not in text and str(work_dir) not in text
    (command,) = read_record(folder, CONFIGS).info['commands']
    assert command == f'python tools/train.py {NAME}.py --work-dir work'


def test_the_last_test_counts_and_a_second_record_replaces_the_first(work_dir, out):
    collect_run(work_dir, out, CONFIGS)
    (work_dir / '20260101_010000' / '20260101_010000.json').unlink()
    folder = collect_run(work_dir, out, CONFIGS)
    assert not (folder / 'backwards.csv').exists()
    assert [path.name for path in out.iterdir()] == [folder.name]


def test_changed_settings_are_in_name_and_record(tmp_path, out):
    work_dir = make_work_dir(tmp_path / 'work', **{'optim_wrapper.optimizer.lr': 0.1})
    folder = collect_run(work_dir, out, CONFIGS)
    assert folder.name == f'{NAME}_lr-0.1_seed3'
    assert read_record(folder, CONFIGS).changes == {'optim_wrapper.optimizer.lr': 0.1}


def test_scale_is_told_apart():
    info = dict(config='x', split='test', pixels=64, epochs=15, seed=0)
    scale = {
        'train_dataloader.dataset.pipeline.4.input_size': 64,
        'train_cfg.max_epochs': 15,
        'param_scheduler.1.T_max': 15,
    }
    assert without_scale(scale) == {}
    assert record_name(info, scale) == 'x_64px_15e_seed0'
    shorter = {**scale, 'param_scheduler.1.T_max': 9}
    assert without_scale(shorter) == {'param_scheduler.1.T_max': 9}
    assert record_name(info, shorter) == 'x_64px_15e_T_max-9_seed0'
    assert without_scale({'param_scheduler.0.end': None}) == {'param_scheduler.0.end': None}


@pytest.mark.parametrize(
    ('name', 'lists'), [('dev', ('dev_train', 'dev_val')), ('swap', ('test', 'train'))]
)
def test_other_splits_are_told_apart(tmp_path, out, name, lists):
    files = {
        f'{split}_dataloader.dataset.ann_file': f'annotations/{file}.txt'
        for split, file in zip(('train', 'test'), lists)
    }
    folder = collect_run(make_work_dir(tmp_path / 'work', **files), out, CONFIGS)
    assert folder.name == f'{NAME}_{name}_seed3'
    assert read_record(folder, CONFIGS).info['split'] == name


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
    (out / 'x_seed0').mkdir(parents=True)
    (out / 'x_seed0' / 'run.json').write_text('{"config": "x_motionshapes-rgb"}')
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


def test_records_that_do_not_belong_are_named(tmp_path, out):
    first = collect_run(make_work_dir(tmp_path / 'work'), out, CONFIGS)
    folders = [out / f'{NAME}_seed{seed}' for seed in (4, 5, 6, 7, 8)]
    for seed, folder in zip((4, 5, 6, 7, 8), folders):
        shutil.copytree(first, folder)
        for name in ('run.json', 'config.json'):
            path = folder / name
            path.write_text(re.sub(r'(seed\W+)3\b', rf'\g<1>{seed}', path.read_text()))
    text = (folders[0] / 'scores.csv').read_text()
    (folders[0] / 'scores.csv').write_text(text[: len(text) // 2 + 5])
    folders[1].rename(out / f'{NAME}_seed9')
    for name in ('scores.csv', 'backwards.csv'):
        path = folders[2] / name
        path.write_text(path.read_text().replace('28.mp4', 'a.mp4'))
    records, problems = read_records(out, CONFIGS)
    assert [record.info['seed'] for record in records] == [3, 7, 8]
    assert len(problems) == 3
    assert any('no whole record' in p or 'other clips' in p for p in problems)
    assert any('different seeds, 9, 5 and 5' in p for p in problems)
    assert any('tested on other clips than most' in p for p in problems)


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
