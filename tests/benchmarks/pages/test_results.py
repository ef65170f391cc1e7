"""The report tool on files as MMEngine writes them, and the tables that the README shows."""

import json

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS as REGISTRY
from mmengine.config import Config, DictAction
from PIL import Image

from benchmarks.ablations import ABLATIONS, BASES, OPTIONS
from benchmarks.compared import (
    CONFIGS,
    MODELS,
    RECORDS,
    RECORDS_MOTIONSHAPES,
    ROOT,
)
from benchmarks.pages import overview
from benchmarks.pages import results as report
from benchmarks.pages.model_zoo import own_accuracies
from benchmarks.pages.result_pictures import PICTURES, write_pictures
from benchmarks.pages.result_tables import (
    ablation_name,
    ablation_table,
    main_table,
    runs_table,
    splits_table,
    ties,
)
from benchmarks.records.by_model import fuse, results_by_model
from benchmarks.records.records import Record, read_records
from benchmarks.records.runs import ReportError, read_run
from benchmarks.records.settings import changed_settings, find_config, settings, without_scale

CONFIG = """
train_cfg = dict(max_epochs=2)
train_dataloader = dict(batch_size=4)
test_dataloader = dict(dataset=dict(type='MotionShapesDataset'))
"""
LOG = """
    sys.platform: linux
    Python: 3.11.7 (main)
    CUDA available: False
    PyTorch: 2.13.0+cpu
    MMEngine: 0.10.7
    seed: 3
"""


@pytest.fixture
def work_dir(tmp_path):
    """A run of 2 epochs of 10 steps, 0.5 s and 0.4 s a step, then tested."""
    (tmp_path / 'pan-lite.py').write_text(CONFIG)
    (tmp_path / 'epoch_2.pth').touch()
    train, test = tmp_path / '20260101_000000', tmp_path / '20260101_010000'
    for folder in (train, test):
        (folder / 'vis_data').mkdir(parents=True)
        (folder / f'{folder.name}.log').write_text(LOG)
        (folder / 'vis_data' / 'config.py').write_text(CONFIG)
    steps = [
        dict(loss=2.0, epoch=1, step=10, time=0.5),
        {'acc/top1': 0.1, 'step': 1},
        dict(loss=1.0, epoch=2, step=20, time=0.4),
    ]
    (train / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, steps)))
    scores = {'acc/top1': 0.75, 'acc/top5': 1.0, 'acc/mean1': 0.7}
    (test / f'{test.name}.json').write_text(json.dumps(scores))
    return tmp_path


def test_reads_what_the_runner_wrote(work_dir):
    run = read_run(work_dir)
    assert (run['config'], run['seed'], run['epochs']) == ('pan-lite', 3, 2)
    assert (run['top1'], run['top5'], run['mean_class']) == (75, 100, 70)
    assert run['train_minutes'] == round((10 * 0.5 + 10 * 0.4) / 60, 1)
    assert run['environment']['torch'] == '2.13.0+cpu'


def test_unfinished_training(work_dir):
    (work_dir / 'epoch_2.pth').unlink()
    with pytest.raises(ReportError, match='--resume'):
        read_run(work_dir)


@pytest.mark.parametrize(
    'why',
    [
        'the monitored metric did not improve in the last 2 records. best score: 0.1.',
        'Stopping threshold reached: `acc/top1` = 0.9 is greater than 0.8',
    ],
)
def test_early_stop(work_dir, why):
    """Words of MMEngine's EarlyStoppingHook, in epoch 2 of 6."""
    config = work_dir / '20260101_000000' / 'vis_data' / 'config.py'
    config.write_text(CONFIG.replace('max_epochs=2', 'max_epochs=6'))
    with pytest.raises(ReportError, match='stopped in epoch 2 of 6'):
        read_run(work_dir)
    (work_dir / '20260101_000000' / '20260101_000000.log').write_text(f'{LOG}{why}\n')
    assert read_run(work_dir)['epochs'] == 2


def test_untested(work_dir):
    next(work_dir.glob('*_010000/*.json')).unlink()
    with pytest.raises(ReportError, match='trained but not tested'):
        read_run(work_dir)


def test_no_run_at_all(tmp_path):
    with pytest.raises(ReportError, match='no log of a training'):
        read_run(tmp_path)


def test_tables_of_readme_and_get_started_are_fresh():
    overview.main(['--check'])
    assert all(overview.MARK.search((ROOT / name).read_text()) for name in overview.PAGES)


def record(model, seed, hits, changes=None, split='test', pixels=112):
    """A record of 54 clips whose first ``hits`` are recognized, all of them backwards too."""
    labels = np.arange(54) % 27
    scores = np.eye(27)[np.where(np.arange(54) < hits, labels, (labels + 1) % 27)]
    info = dict(config=MODELS[model], seed=seed, split=split, pixels=pixels, epochs=30)
    info.update(top1=round(100 * hits / 54, 2), gmacs=1.5, params=2.0, train_minutes=3.0)
    info.update(environment=dict(device='CPU'), commands=['python tools/train.py x'])
    clips = [(f'{index:02}.mp4', int(label)) for index, label in enumerate(labels)]
    steps = np.array([1.0, 2.0])
    curve = dict(epoch=steps, step=10 * steps, loss=3 / steps)
    path = RECORDS / f'{info["config"]}_seed{seed}.json'
    return Record(path, info, changes or {}, clips, scores, scores, curve)


@pytest.fixture(scope='module')
def records():
    """TSM of two seeds; the streams of PAN En, of which only seed 0 is whole; two variants."""
    runs = [record('TSM', 0, 27), record('TSM', 1, 28), record('PAN RGB', 1, 5)]
    runs += [record(model, 0, hits) for model, hits in (('PAN RGB', 0), ('PAN PA', 54))]
    runs += [record('PAN Lite', 0, 54)]
    runs += [record('PAN Lite', 0, 10, dict(ABLATIONS[0].options))]
    runs += [record('PAN Lite', 0, 20, {'optim_wrapper.optimizer.lr': 1}, split='dev', pixels=64)]
    return runs


def test_settings_that_were_not_chosen_on_dev_are_marked(records):
    row = f'PAN Lite, {ABLATIONS[0].name} | test'
    assert row.replace(' |', ' † |') in ablation_table(records)
    tried = record('PAN Lite', 0, 10, dict(ABLATIONS[0].options), split='dev', pixels=64)
    assert row in ablation_table([*records, tried])


def test_accuracies_are_rounded_once():
    runs = [record('TSM', 0, 53, {'optim_wrapper.optimizer.lr': 1})]  # 98.148, in its JSON 98.15
    assert '| 0 | 98.1 | 98.1 |' in ablation_table(runs)
    assert '| 98.1 | 3.0 |' in runs_table(runs)


def test_mean_over_splits_is_of_models_that_have_all_of_them(records):
    found, _ = results_by_model(records)
    tsm = {'split 1': {'TSM': found['TSM'], 'TSN': []}, 'split 2': {'TSM': [], 'TSN': []}}
    assert '| TSM | 0, 1 | 50.9 ± 1.3 |  |  | 1.50 | 2.00 |' in splits_table(tsm)
    tsm['split 2']['TSM'] = found['PAN PA']
    table = splits_table(tsm)
    assert '| TSM | 0, 1 | 50.9 ± 1.3 | 100.0 | 75.5 | 1.50 | 2.00 |' in table
    assert 'TSN' not in table


def test_page_is_fresh():
    report.main(['--check'])


def test_what_the_page_says_of_its_numbers_holds():
    records, _ = read_records(RECORDS, CONFIGS)
    found, _ = results_by_model(records)
    top1 = {m: [r.accuracies['top1'] for r in results] for m, results in found.items() if results}
    mean = {model: np.mean(values) for model, values in top1.items()}
    std = {m: np.std(values, ddof=1) if len(values) > 1 else 0 for m, values in top1.items()}

    def ahead(model, other):
        return mean[model] - mean[other] > std[model] + std[other]

    ranking = ('PAN Lite', 'PAN RGB', 'TSM', 'TSN')
    assert all(len(top1[model]) == 3 for model in (*ranking, 'PAN PA', 'PAN Full', 'PAN En'))
    assert all(ahead(*pair) for pair in zip(ranking, ranking[1:]))
    assert ahead('PAN Lite', 'SlowOnly') and 0 < mean['SlowOnly'] - mean['TSM'] < 3
    assert ahead('PAN En', 'PAN Lite') and mean['PAN En'] > 80
    assert not ahead('PAN Lite', 'PAN PA') and not ahead('PAN En', 'PAN Full')
    assert not ahead('PAN Lite after MotionShapes', 'PAN Lite')
    # Averaged over frames, no order of them is left.
    for result in found['TSN']:
        np.testing.assert_allclose(result.backwards, result.scores, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('dataset', 'worse'),
    [
        (
            'utd-mhad',
            ('without PA', 'PA as', 'm = 2', 'average', 'without shift', 'filters of std'),
        ),
        ('motionshapes', ('without PA', 'PA as', 'm = 2')),
    ],
)
def test_what_the_page_says_of_ablations_holds(dataset, worse):
    folder = dict(zip(BASES, (RECORDS, RECORDS_MOTIONSHAPES)))[dataset]
    records, _ = read_records(folder, CONFIGS)
    table = ablation_table([r for r in records if r.info['config'] == BASES[dataset]])
    rows = [line.strip('| ').split(' | ') for line in table.splitlines()[2:]]
    small = {row[0]: float(row[5]) for row in rows if row[1:3] == ['test', '64']}
    variants = {name[len('PAN Lite, ') :]: value for name, value in small.items()}
    base = variants.pop('')
    assert len(variants) == len(ABLATIONS)
    lost = [name for name, value in variants.items() if base - value > 6]
    assert len(lost) == len(worse)
    assert all(name.startswith(tuple(worse)) for name in lost)


def test_what_the_page_says_of_the_schedule_holds():
    records, _ = read_records(RECORDS, CONFIGS)
    found = {}
    for record in records:
        info, changes = record.info, without_scale(record.changes)
        if info['split'] == 'dev' and 'randaugment' not in info['config']:
            key = info['config'].partition('_')[0], info['epochs'], *changes.values()
            found.setdefault(key, []).append(info['top1'])
    mean = {key: np.mean(values) for key, values in found.items()}
    for epochs in (15, 30):
        assert mean['pan-lite', epochs] - mean['pan-lite', epochs, 0.002] > 6
    assert mean['tsm', 15, 0.002] - mean['tsm', 15] > 6
    rates = [('tsm', 30), ('tsm', 30, 0.002)]
    assert abs(np.subtract(*(mean[key] for key in rates))) < min(np.ptp(found[k]) for k in rates)
    assert mean['slowonly', 15] - mean['slowonly', 15, None] > 20
    smoothed, mixed, sgd = (
        mean[('pan-lite', 30, *(option.options[key] for key in sorted(option.options)))]
        for option in OPTIONS
    )
    assert max(smoothed, mixed) <= max(found['pan-lite', 30]) and mean['pan-lite', 30] - sgd > 30


def test_settings_that_no_ablation_changes_name_themselves():
    changes = {'model.backbone.depth': None, 'optim_wrapper.optimizer.lr': 0.1}
    name = 'without `model.backbone.depth`, `optim_wrapper.optimizer.lr=0.1`'
    assert ablation_name(changes) == name


def test_means_are_of_equal_runs_alone(records):
    found, missing = results_by_model(records)
    table = main_table(found)
    (row,) = (line.split(' | ') for line in table.splitlines() if line.startswith('| TSM'))
    assert row[1:3] == ['0, 1', '50.9 ± 1.3'] and row[4:] == [
        '50.9 ± 1.3',
        '1.50',
        '2.00',
        '3.0 |',
    ]
    assert '| PAN Lite | 0 | 100.0 |' in table
    assert '| TSN | none yet |' in table
    assert 'TSM: seed 2' in missing
    assert any('PAN En: seed 1 (lacks PAN PA, PAN Lite)' in text for text in missing)


def test_a_run_counts_for_the_config_whose_settings_options_gave_it():
    runs = [record('PAN Lite', seed, 54, {'model.backbone.stream': 'pa'}) for seed in (1, 0)]
    runs.insert(1, record('PAN PA', 0, 27))  # of its own config, which goes first
    found, _ = results_by_model(runs)
    reached = [(result.seed, result.accuracies['top1']) for result in found['PAN PA']]
    assert reached == [(0, 50), (1, 100)] and not found['PAN Lite']
    dev = runs[0]._replace(info=dict(runs[0].info, split='dev'))
    assert '| PAN PA | dev | 112 | 30 | 1 |' in ablation_table([dev])


def test_streams_of_one_seed_are_fused_by_their_weights(records):
    found, _ = results_by_model(records)
    (en,) = found['PAN En']
    assert (en.gmacs, en.params, en.minutes) == (4.5, 6.0, 9.0)
    assert en.accuracies['top1'] == 100  # two of three streams are right
    np.testing.assert_allclose(en.scores[0, :2], [2 / 3, 1 / 3])
    assert fuse(found['PAN RGB'][:1] + found['PAN PA'], [3, 1]).accuracies['top1'] == 0


def test_page_tells_all_that_there_is(records):
    template = (ROOT / 'docs' / 'results.md.in').read_text(encoding='utf-8')
    text = report.page(template, records, records[-2:], [], ['work_dirs/x: stopped'])
    assert '- Left out: work_dirs/x: stopped' in text and '\n@' not in text
    assert f'| PAN Lite, {ABLATIONS[0].name} † | test | 112 | 30 | 0 | 18.5 | 18.5 | 1.50 |' in text
    assert '| PAN Lite, `optim_wrapper.optimizer.lr=1` | dev | 64 | 30 | 0 | 37.0 |' in text
    # What is taken for the same backwards as forwards is never taken for the partner.
    assert '| PAN Lite | 0 | 100.0 | 100.0 | 100.0 | 0.0 | 100.0 |' in text
    assert own_accuracies(records)[BASES['utd-mhad']] == '100.0 / 100.0'


def test_page_names_the_records_that_a_tie_decides(records):
    assert ties(records) == ''
    tied, clear = records[0], records[1]
    scores = np.where(np.arange(54)[:, None] == 3, 0, tied.scores)  # all classes of a clip
    tied = tied._replace(scores=scores, info=dict(tied.info, score_digits=5))
    clear = clear._replace(info=dict(clear.info, score_digits=5))
    text = ties([tied, clear, records[2]])
    assert text.startswith('The scores of 2 of the 3 runs were rounded to five digits')
    assert text.endswith(f'decides a clip in `{tied.path.stem}`.')


def test_page_without_runs_names_them(tmp_path):
    text = report.page('@MAIN@\n\n@MISSING@\n\n@CLASSES@\n\n@ABLATIONS@\n', [], [], [], [])
    assert 'Not run yet: TSN: seed 0, 1, 2; ' in text
    assert text.count('No runs yet.') == 3
    write_pictures([], tmp_path / 'pictures')
    assert not (tmp_path / 'pictures').exists()


def test_pictures(records, tmp_path):
    write_pictures(records, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(PICTURES)
    for path in tmp_path.iterdir():
        image = Image.open(path)
        assert image.width > 300 and len(image.getcolors(2**24)) > 10
        assert path.stat().st_size < 200_000


@pytest.mark.parametrize('dataset', BASES)
def test_ablations_change_the_config_they_are_of(dataset):
    path = find_config(CONFIGS, BASES[dataset])
    variants = ABLATIONS if dataset == 'motionshapes' else (*ABLATIONS, *OPTIONS)
    names = [ablation_name(dict(variant.options), variants) for variant in variants]
    assert names == [variant.name for variant in variants]
    for ablation in variants:
        cfg = Config.fromfile(path)
        before = settings(cfg)
        options = dict(word.split('=') for word in ablation.cfg_options(dataset).split())
        assert ablation.options.keys() <= options.keys()
        cfg.merge_from_dict({key: DictAction._parse_iterable(options[key]) for key in options})
        assert changed_settings(settings(cfg), before) == ablation.options
        if dataset == 'motionshapes':
            val, test = (cfg[f'{s}_dataloader'].dataset.pipeline for s in ('val', 'test'))
            assert val == test
        REGISTRY.build(cfg.model.pop('data_preprocessor'))
        with torch.device('meta'):
            REGISTRY.build(cfg.model)
