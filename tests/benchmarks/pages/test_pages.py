"""The documents show what the result files hold, and their sentences about numbers are true."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.compared import MODELS, MODELS_JHMDB, ROOT
from benchmarks.evidence import fuse, interval, mcnemar, mean_top1, order_accuracies
from benchmarks.pages import figure, model_zoo, tables
from benchmarks.pages.__main__ import MARK, PAGES, TABLES, fill, main
from benchmarks.pages.tables import found, leads, read_report, signed
from benchmarks.runs import RESULTS, read_table, without_scale
from pan_mm.engine.own_videos import OWN_MODELS

BOTH, SMALL, LONG, LARGE = '64 px, both splits', '64 px', '64 px, 120 epochs', '112 px'
IMAGENET, JHMDB = 'ImageNet weights', 'JHMDB'
GESTURES = 'EgoGestAR, ten gestures'
SPLITS = ('split 1', 'split 2', 'split 3')
FUSED = 'PAN PA + TSN'


def test_queued_calls_have_rows_of_their_own(monkeypatch, tmp_path):
    rows = [
        dict(method='triton', frames_per_second=1234, queued_frames_per_second=5678.4),
        dict(method='TV-L1', frames_per_second=5),
    ]
    result = dict(threads=1, width=224, height=224, dtype='float16', methods=rows)
    report = dict(environment=dict(device='GPU'), results=[result])
    (tmp_path / 'motion_gpu.json').write_text(json.dumps(report))
    monkeypatch.setattr(tables, 'PERFORMANCE', tmp_path)
    head, _, *body = tables.motion().splitlines()
    assert head == '| frames/s | GPU, float16 |'
    assert body == ['| triton | 1,234 |', '| triton, queued | 5,678 |', '| TV-L1 | 5 |']


def test_everything_is_fresh():
    main(['--check'])


def test_each_table_has_its_place():
    marks = [MARK.findall((ROOT / name).read_text(encoding='utf-8')) for name in PAGES]
    assert all(marks)
    assert sorted(mark[1] for page in marks for mark in page) == sorted(TABLES)


def test_a_stale_page_is_named(monkeypatch, tmp_path):
    text = '# A\n\n<!-- table: int8 -->\nold\n<!-- end -->\n\nstays\n'
    (tmp_path / 'page.md').write_text(text)
    monkeypatch.setattr('benchmarks.pages.__main__.ROOT', tmp_path)
    monkeypatch.setattr('benchmarks.pages.__main__.PAGES', ['page.md'])
    with pytest.raises(SystemExit, match='page.md is stale; run python -m benchmarks.pages'):
        main(['--check'])
    filled = fill(text)
    assert '| int8 | 46.7 |' in filled and 'old' not in filled
    assert filled.endswith('<!-- end -->\n\nstays\n') and fill(filled) == filled


def test_summary_and_tables_have_the_same_means():
    table = tables.summary_table()
    assert not any(len(set(seeds.split())) < len(seeds.split()) for seeds in table['seeds'])
    plain = table.query('split == "test" and changes == "" and pixels == 112').set_index('config')
    for model, config in MODELS.items():
        row = plain.loc[config]
        assert row['top1'] == pytest.approx(top1(LARGE, model)), model
        assert row['seeds'] == ' '.join(str(run.seed) for run in found(LARGE)[model])


def test_the_zoo_shows_own_results_beside_the_papers():
    name = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'
    text = model_zoo.model_zoo()
    (line,) = (line for line in text.splitlines() if line.startswith(f'| [{name}]'))
    assert line.endswith(f'|  | {model_zoo.own_accuracies()[name]} |')


@pytest.mark.parametrize('name', ['cost', 'speed'])
def test_figure(name, tmp_path):
    path = tmp_path / 'docs' / f'{name}.png'
    getattr(figure, f'write_{name}')(path)
    image = Image.open(path)
    assert image.width > 300 and len(image.getcolors(2**24)) > 10
    shown = Image.open(ROOT / 'docs' / 'results' / f'{name}.png')
    assert shown.size == image.size


def test_time_and_accuracy_of_the_figure(monkeypatch, tmp_path):
    """A model stands where its time and its runs put it."""
    drawn = []
    monkeypatch.setattr(figure, 'draw', lambda points, *_: drawn.extend(points))
    figure.write_speed(tmp_path / 'speed.png')
    measured = json.loads(figure.SPEED.read_text())['models']
    assert {model for _, _, model, _ in drawn} >= {'TSN', 'TSM', 'PAN Lite', 'PAN Full'}
    for milliseconds, mean, model, (low, high) in drawn:
        assert milliseconds == measured[MODELS[model]]['ms']
        assert low < mean == mean_top1(found(LARGE)[model]) < high


# Sentences with numbers ------------------------------------------------------------------------


def lead(setting, one, other):
    return leads()[setting, one, other].mean


def top1(setting, model):
    return mean_top1(found(setting)[model])


def gain(model):
    """Points that four times the epochs bring, for the same seeds."""
    longer = found(LONG)[model]
    seeds = {run.seed for run in longer}
    return mean_top1(longer) - mean_top1([r for r in found(SMALL)[model] if r.seed in seeds])


def variant(dataset, config, split='test', pixels=64, epochs=None, **changes):
    """Mean top-1 of the runs whose changed settings end like these, beside those of scale."""
    reached = []
    for run in tables.runs_of(dataset):
        info = run.info
        own = {key.rpartition('.')[2]: v for key, v in without_scale(info['changes']).items()}
        place = info['config'], info['split'], info['pixels']
        if place == (config, split, pixels) and own == changes and epochs in (None, info['epochs']):
            reached.append(run.accuracies['top1'])
    assert reached, (config, changes)
    return float(np.mean(reached))


LITE = MODELS['PAN Lite']
SHAPES = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'
small = partial(variant, 'utd-mhad-depth', LITE, epochs=15)
attention = partial(variant, 'utd-mhad-depth', LITE.replace('lite', 'attention'))
dev = partial(variant, 'utd-mhad-depth', LITE, split='dev', epochs=30)
SGD = dict(
    constructor='PANOptimWrapperConstructor',
    type='SGD',
    lr=0.01,
    momentum=0.9,
    weight_decay=0.0001,
)


def jhmdb_dev(model, name, **changes):
    config = f'{model}_imagenet-pretrained-efficientnet-lite0_1xb16-{name}x1x8-15e-112px_jhmdb-rgb'
    return variant('jhmdb-rgb', config, split='dev', pixels=112, **changes)


def jhmdb_gain(model, m, **changes):
    return jhmdb_dev(model, m, **changes) - jhmdb_dev(model, m)


MIXUP = dict(type='MixupBlending', num_classes=21, alpha=0.2)


def order(key):
    return float(np.mean([order_accuracies(run)[key] for run in found(LARGE)['PAN PA']]))


def count(column, value):
    return int((read_table()[column] == value).sum())


def gpu(file, method, other, part='methods', key='frames_per_second'):
    rows = {row['method']: row[key] for row in read_report(file)['results'][0][part]}
    return rows[method] / rows[other]


H16, H32 = 'motion_h200-bfloat16', 'motion_h200-float32'
IN_RESULTS = {
    'PAN PA recognizes {:.1f} %, and TSM {:.1f} % on the same network': lambda: (
        top1(GESTURES, 'PAN PA'),
        top1(GESTURES, 'TSM'),
    ),
    'is {:.1f} points behind PA, so the colors tie it': lambda: (
        -lead(GESTURES, 'PAN Lite', 'PAN PA'),
    ),
    'PAN PA leads TSM by {:.1f} points and PAN RGB, which has the same head, by {:.1f}.': lambda: (
        lead(BOTH, 'PAN PA', 'TSM'),
        lead(BOTH, 'PAN PA', 'PAN RGB'),
    ),
    'After 120 epochs (one seed, four subjects) PAN PA leads TSM by {:.1f} points and PAN RGB '
    'by {:.1f}': lambda: (lead(LONG, 'PAN PA', 'TSM'), lead(LONG, 'PAN PA', 'PAN RGB')),
    'its lead is {} points at 64 pixels and {:.1f} at 112.': lambda: (
        signed(lead(BOTH, 'PAN PA', 'Differences')),
        lead(LARGE, 'PAN PA', 'Differences'),
    ),
    'Signed differences are {:.1f} points better than PA': lambda: (
        -lead(BOTH, 'PAN PA', 'Signed differences'),
    ),
    'they stay {:.1f} points behind PA': lambda: (lead(BOTH, 'PAN PA', 'Stack'),),
    'lead PA by {:.1f} points over eight subjects': lambda: (
        lead(BOTH, 'PAN PA, square roots', 'PAN PA'),
    ),
    'PAN PA leads TSM by {:.1f} points and PAN Lite by {:.1f}.': lambda: (
        lead(IMAGENET, 'PAN PA', 'TSM'),
        lead(IMAGENET, 'PAN Lite', 'TSM'),
    ),
    'leads PAN PA by {:.1f} points and TSM by {:.1f}, on each split.': lambda: (
        lead(JHMDB, FUSED, 'PAN PA'),
        lead(JHMDB, FUSED, 'TSM'),
    ),
    'PAN Full leads PAN PA by {:.1f} at 112 pixels.': lambda: (lead(LARGE, 'PAN Full', 'PAN PA'),),
    'Averaging three PAN PA of different seeds instead reaches {:.1f} %': lambda: (
        fuse(found(LARGE)['PAN PA'], [1, 1, 1]).accuracies['top1'],
    ),
    'RandAugment costs TSM {:.1f} points and gives PAN Lite {:.1f}; Mixup costs TSM {:.1f} and '
    'gives PAN Lite {:.1f}.': lambda: (
        jhmdb_dev('tsm', 1) - jhmdb_dev('tsm', 'randaugment-1'),
        jhmdb_dev('pan-lite', 'randaugment-4') - jhmdb_dev('pan-lite', 4),
        -jhmdb_gain('tsm', 1, **MIXUP),
        jhmdb_gain('pan-lite', 4, **MIXUP),
    ),
    'PAN PA recognizes {:.1f} % of the clips forwards. Backwards, it answers with the opposite '
    'action, which is right, in {:.1f} % and with the original one in {:.1f} %.': lambda: map(
        order, ('pairs', 'as_partner', 'as_before')
    ),
    'bring {:.1f} points to TSN, {:.1f} to TSM, {:.1f} to PAN RGB, {:.1f} to PAN PA and {:.1f} '
    'to PAN Lite': lambda: map(gain, ('TSN', 'TSM', 'PAN RGB', 'PAN PA', 'PAN Lite')),
    'reaches {:.1f} % instead of {:.1f} % with PAN Lite on the *dev* split': lambda: (
        dev(**SGD),
        dev(),
    ),
    'it reaches {:.1f} %. Without PA it loses {:.1f} points, with two frames per segment '
    'instead of four {:.1f}, with the mean over segments in place of VAP {:.1f}, without '
    "temporal shift {:.1f}, with PA as attention {:.1f}, and with PA's filters started as "
    'small as in the paper {:.1f}.': lambda: (
        small(),
        small() - small(stream='rgb'),
        small() - small(clip_len=2),
        small() - small(type='TSMHead'),
        small() - small(is_shift=False),
        small() - attention(epochs=15),
        small() - small(init_std=0.001),
    ),
    'PAN Lite falls from {:.1f} % to {:.1f} % without PA.': lambda: (
        variant('motionshapes-rgb', SHAPES),
        variant('motionshapes-rgb', SHAPES, stream='rgb'),
    ),
    '{} of the {} runs used an H200': lambda: (count('gpu', 'NVIDIA H200'), len(read_table())),
    'For {} early runs, scores were rounded to five digits': lambda: (count('score_digits', 5),),
}
IN_PERFORMANCE = {
    'with its gradients {:.0%} of the time and {:.0%} of the memory.': lambda: (
        gpu(H16, 'triton', 'naive', 'training', 'ms'),
        gpu(H16, 'triton', 'naive', 'training', 'peak_mbytes'),
    ),
    "normalized frames take {:.1f} times the reference's time, with gradients {:.1f} "
    'times': lambda: (
        gpu(H32, 'reference', 'triton'),
        gpu(H32, 'triton', 'reference', 'training', 'ms'),
    ),
    '{} of the {} give the same input.': lambda: (
        len(read_report('pipeline_epyc-2-cores')['equal']),
        read_report('pipeline_epyc-2-cores')['settings']['videos'],
    ),
    'int8 names the same class as float32 in {:g} % of {} videos.': lambda: (
        read_report('int8_xeon-2-cores')['same_top1'],
        read_report('int8_xeon-2-cores')['videos'],
    ),
}


def plain(text):
    return re.sub(r'\s+', ' ', text).replace(' %', '%')


@pytest.mark.parametrize(
    ('page', 'sentence', 'values'),
    [
        pytest.param(page, sentence, values, id=' '.join(sentence.split()[:6]))
        for page, sentences in (('results', IN_RESULTS), ('performance', IN_PERFORMANCE))
        for sentence, values in sentences.items()
    ],
)
def test_the_numbers_of_a_sentence(page, sentence, values):
    text = (ROOT / 'docs' / f'{page}.md').read_text(encoding='utf-8')
    assert plain(sentence.format(*values())) in plain(text)


# Sentences without numbers ---------------------------------------------------------------------


def test_who_is_ahead_of_whom():
    for pair in (('PAN PA', 'TSM'), ('PAN PA', 'PAN RGB')):
        own = leads()[(BOTH, *pair)].points
        assert len(own) == 8 and min(own.values()) > 0
    for model in MODELS:
        if model.startswith('PAN') and 'MotionShapes' not in model:
            assert [run.seed for run in found(LARGE)[model]] == [0, 1, 2]
    assert all(len(found(LONG)[m]) == 1 for m in ('TSN', 'TSM', 'PAN PA', 'PAN RGB', 'PAN Lite'))


@pytest.mark.parametrize(
    ('setting', 'one', 'other', 'contains_zero'),
    [
        (LONG, 'PAN PA', 'TSM', True),
        (LONG, 'PAN PA', 'PAN RGB', True),
        (BOTH, 'PAN PA', 'Differences', True),
        (LARGE, 'PAN PA', 'Differences', True),
        (BOTH, 'PAN PA', 'Signed differences', False),
        (BOTH, 'PAN PA, square roots', 'PAN PA', True),
        (BOTH, 'PAN RGB', 'TSM with maximum', True),
        (IMAGENET, 'PAN PA', 'TSM', False),
        (IMAGENET, 'PAN Lite', 'TSM', False),
        (IMAGENET, 'PAN PA', 'PAN RGB', True),
        (IMAGENET, 'PAN Lite', 'PAN RGB', True),
    ],
)
def test_intervals_that_contain_zero(setting, one, other, contains_zero):
    low, high = leads()[setting, one, other].t
    assert (low < 0 < high) == contains_zero
    assert (low, high) == interval([*leads()[setting, one, other].points.values()])


def test_what_the_readme_says_of_gestures():
    pa, tsm = (top1(GESTURES, model) for model in ('PAN PA', 'TSM'))
    sentence = f'PA recognizes {pa:.0f} %, and TSM on the same network {tsm:.0f} %'
    assert plain(sentence) in plain((ROOT / 'README.md').read_text(encoding='utf-8'))


def test_what_the_readme_says_of_the_cost():
    measured = json.loads(figure.SPEED.read_text())['models']
    lite, tsm = (measured[MODELS[model]]['ms'] for model in ('PAN Lite', 'TSM'))
    share, points = lite / tsm - 1, lead(LARGE, 'PAN Lite', 'TSM')
    sentence = f'takes {100 * share:.0f} % more time than TSM, and gains {points:.0f} points'
    assert sentence in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_normalizing_takes_little_of_a_training_step():
    """At 224 pixels, and a step at 112."""
    stages = read_report('pipeline_epyc-2-cores')['pipelines']['default']['stages_ms']
    steps = read_report('recognizer_epyc-2-cores')['training']
    (lite,) = (s for s in steps if (s['model'], s['variant']) == ('PAN_Lite', 'plain'))
    milliseconds = 1000 / lite['clips_per_second']
    assert stages['collate, move, normalize'] < 0.01 * milliseconds


def test_the_default_for_own_videos():
    """The simpler of two cues that are level, and ahead of TSM on each draw."""
    rows = pd.read_csv(RESULTS / 'own_recipe' / 'own_recipe.csv').query('budget == 600')
    rows = rows.pivot(index=['dataset', 'draw'], columns='model', values='test_accuracy')
    over_tsm, over_pa = (rows['signed-r18'] - rows[rival] for rival in ('tsm-r18', 'pa-r18'))
    assert len(rows) == 6 and over_tsm.min() > 0
    intervals = [interval([*own]) for own in (over_tsm, over_pa)]
    assert intervals[0][0] > 0 > intervals[1][0] and intervals[1][1] > 0
    cells = [f'({signed(low)} … {signed(high)})' for low, high in intervals]
    sentence = (
        f"by {over_tsm.mean():.1f} points on average (95 % by Student's t {cells[0][1:]}, "
        f'and PA by {over_pa.mean():.1f} {cells[1]}'
    )
    text = (ROOT / 'docs' / 'tutorials' / '1_own_videos.md').read_text(encoding='utf-8')
    assert plain(sentence) in plain(text) and next(iter(OWN_MODELS)) == 'signed-difference'


def test_more_frames_gain_nothing():
    one, other = (found(BOTH)[model] for model in ('TSM, 4 × 8 frames', 'TSM'))
    assert abs(mean_top1(one) - mean_top1(other)) < 1


def test_the_search_for_a_better_pa():
    tried, reached = set(), {}
    for run in tables.runs_of('utd-mhad-depth'):
        info = run.info
        if info['split'] == 'dev' and re.match('pan-pa.*64px', info['config']):
            key = info['config'], json.dumps(info['changes'], sort_keys=True)
            tried.add(key)
            reached.setdefault(key, []).append(run.accuracies['top1'])
    plain_pa = next(key for key in tried if key == (found_config('PAN PA'), '{}'))
    assert len(tried - {plain_pa}) == 12
    best = max(tried, key=lambda key: np.mean(reached[key]))
    assert '"sqrt"' in best[1] or 'sqrt' in best[0]


def found_config(model):
    return found(SMALL)[model][0].info['config']


def test_real_video():
    column = {
        model: [mean_top1(found(name)[model]) for name in SPLITS]
        for model in ('TSN', 'TSM', 'PAN RGB', 'PAN PA', FUSED)
    }
    for rival in ('TSN', 'TSM', 'PAN RGB'):
        ahead = np.subtract(column['PAN PA'], column[rival])
        assert min(ahead) > 0 and 4.5 < ahead.mean() < 6.5
    for rival in ('PAN PA', 'TSM'):
        assert min(np.subtract(column[FUSED], column[rival])) > 0
    assert all(len(runs) == 1 for name in SPLITS for runs in found(name).values() if runs)


def test_the_fusion_was_chosen_on_the_dev_split():
    """PA with half of TSN is the best of each network here with PA, at half, one and two parts."""
    own = {run.info['config']: run for run in tables.runs_of('jhmdb-rgb') if is_dev(run)}
    motion = own[MODELS_JHMDB['PAN PA']]
    reached = {
        (config, weight): fuse([motion, run], [1, weight]).accuracies['top1']
        for config, run in own.items()
        for weight in (0.5, 1, 2)
        if run is not motion
    }
    assert max(reached, key=reached.__getitem__) == (MODELS_JHMDB['TSN'], 0.5)
    assert reached[MODELS_JHMDB['TSN'], 0.5] > motion.accuracies['top1']


def is_dev(run):
    return run.info['split'] == 'dev' and not run.info['changes']


def test_augmentation_on_jhmdb_is_within_chance():
    runs = [run for run in tables.runs_of('jhmdb-rgb') if run.info['split'] == 'dev']
    for model in ('tsm_', 'pan-lite_'):
        own = [run for run in runs if run.info['config'].startswith(model)]
        (base,) = (
            run
            for run in own
            if not run.info['changes'] and 'randaugment' not in run.info['config']
        )
        others = [run for run in own if run is not base]
        assert len(others) == 3 and all(mcnemar(run, base) > 0.05 for run in others)


def test_training_losses():
    losses = {
        model: np.mean([run.info['loss'] for run in runs])
        for model, runs in found(LARGE).items()
        if runs and runs[0].info['loss'] is not None
    }
    with_cue = {m for m in losses if figure.cue_of(m) != 'no motion cue'}
    assert len(with_cue) == 6
    assert max(losses[m] for m in with_cue) < min(losses[m] for m in losses.keys() - with_cue)


def test_tsn_reads_no_order():
    for run in found(LARGE)['TSN']:
        np.testing.assert_allclose(run.backwards, run.scores, rtol=1e-2, atol=1e-2)


def test_ablations_without_a_visible_effect():
    for changes in (dict(num_filters=4), dict(num_filters=16), dict(clip_len=6)):
        assert abs(small(**changes) - small()) < 2
    smoothing, mixup = dict(label_smooth_eps=0.1), dict(MIXUP, num_classes=27)
    assert max(dev(**smoothing), dev(**mixup)) < dev()


def test_what_performance_says_of_a_gpu():
    assert gpu(H16, 'triton', 'naive') == pytest.approx(5, abs=0.2)
    memory = gpu(H32, 'reference', 'triton', 'training', 'peak_mbytes')
    assert memory == pytest.approx(14, abs=0.5)
    rows = read_report(H32)['results'][0]['methods']
    rates = {r['method']: r['frames_per_second'] for r in rows if r['method'] != 'frame difference'}
    assert max(rates, key=rates.get) == 'triton, from uint8'
    rows = read_report('recognizer_epyc-2-cores_compiled')['inference']
    ms = {row['variant']: row['ms'] for row in rows if row['model'] == 'PAN_Lite'}
    assert ms['autocast'] / ms['plain'] == pytest.approx(20, abs=0.5)


NAMED = sorted(
    set(re.findall(r'`(tests/\S+?\.py(?:::\w+)?)`', (ROOT / 'docs/reliability.md').read_text()))
)


@pytest.mark.parametrize('name', NAMED)
def test_tests_that_reliability_names_exist(name):
    path, _, test = name.partition('::')
    text = (ROOT / path).read_text(encoding='utf-8')
    assert re.search(rf'^(def|class) {test}\b', text, re.MULTILINE) if test else 'def test_' in text
