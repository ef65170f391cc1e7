import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.compared import CANDIDATES_64, MODELS
from benchmarks.pages import evidence
from benchmarks.pages import results as report
from benchmarks.records.by_model import Result, results_by_model
from benchmarks.records.records import read_records
from benchmarks.records.settings import without_scale


def result(recognized, **kwargs):
    """Of two clips each of subjects 2, 4, 6 and 8, of which those numbers are recognized."""
    clips = [(f'a1_s{s}_t{t}_depth.mp4', 0) for s in (2, 4, 6, 8) for t in (1, 2)]
    hits = [t <= recognized[s] for s in (2, 4, 6, 8) for t in (1, 2)]
    scores = np.array([[1, 0] if hit else [0, 1] for hit in hits])
    return SimpleNamespace(clips=clips, labels=np.zeros(8, int), scores=scores, **kwargs)


def test_difference_by_subject_is_of_the_means_over_seeds():
    tsm = [result({2: 2, 4: 1, 6: 0, 8: 0}, seed=0), result({2: 2, 4: 0, 6: 0, 8: 1}, seed=1)]
    tsn = [result({2: 1, 4: 1, 6: 0, 8: 0}, seed=0)]
    found = {'TSM': tsm, 'TSN': tsn, 'PAN RGB': []}
    assert evidence.differences_by_subject(found) == {
        ('TSM', 'TSN'): {2: 50.0, 4: -25.0, 6: 0.0, 8: 25.0}
    }
    head, (row,) = evidence.subject_rows(found)
    assert head[1:3] == ['subject 2', 'subject 4']
    assert row[:6] == ['TSM − TSN', '+50.0', '−25.0', '+0.0', '+25.0', '+12.5']
    # t of three degrees of freedom is 3.182, the sample deviation 32.3.
    half = 3.1824 * 32.2749 / 2
    wanted = pytest.approx((12.5 - half, 12.5 + half), 1e-4)
    assert evidence.interval([50.0, -25.0, 0.0, 25.0]) == wanted
    assert row[6] == '−38.9 … +63.9'
    assert len(row) == len(head)


def test_bootstrap_draws_values_anew():
    low, high = evidence.bootstrap([10.0, 10.0, 10.0])
    assert low == high == 10
    low, high = evidence.bootstrap(range(100))
    # The mean of 100 draws has a standard deviation of 28.87 / 10.
    assert (low, high) == pytest.approx((49.5 - 1.96 * 2.887, 49.5 + 1.96 * 2.887), abs=0.3)


def test_mcnemar_counts_the_clips_on_which_two_models_disagree():
    all_hits, no_hits = (result(dict.fromkeys((2, 4, 6, 8), hits)) for hits in (2, 0))
    half = result(dict.fromkeys((2, 4, 6, 8), 1))
    assert evidence.mcnemar(all_hits, all_hits) == 1
    assert evidence.mcnemar(all_hits, no_hits) == pytest.approx(2 * 0.5**8)
    assert evidence.mcnemar(no_hits, all_hits) == pytest.approx(2 * 0.5**8)
    assert evidence.mcnemar(half, no_hits) == pytest.approx(2 * 0.5**4)


def test_only_results_of_one_seed_and_split_are_paired():
    first, second = (result(dict.fromkeys((2, 4, 6, 8), 1), seed=seed) for seed in (0, 1))
    others = [result(dict.fromkeys((2, 4, 6, 8), 2), seed=seed) for seed in (1, 2)]
    assert evidence.paired([first, second], others) == [(second, others[0])]
    others[0].clips = others[0].clips[::-1]
    assert evidence.paired([first, second], others) == []


def test_ensembles_of_one_model_are_of_all_pairs_of_seeds():
    labels = np.array([0, 0])
    clips = [('a1_s2_t1_depth.mp4', 0), ('a1_s2_t2_depth.mp4', 0)]
    # Each seed is right on one clip by little or much; the mean of the logits decides.
    logits = ([[3, 0], [0, 1]], [[0, 1], [3, 0]], [[0, 1], [0, 1]])
    runs = [
        Result(seed, clips, np.array(own, float), None, 2.0, 5.0, 1.0, {})
        for seed, own in enumerate(logits)
    ]
    assert all((run.labels == labels).all() for run in runs)
    head, rows = evidence.ensemble_rows({'PAN PA': runs, 'PAN Full': runs[:1]})
    assert [row[0] for row in rows] == ['PAN PA × 2', 'PAN PA × 3', 'PAN Full']
    assert rows[0][1:] == ['4.00', '10.00', '3', f'{(100 + 50 + 50) / 3:.1f}']
    assert rows[1][1:] == ['6.00', '15.00', '1', '100.0']
    assert rows[2][1:] == ['2.00', '5.00', '1', '50.0'] and len(head) == 5


def test_final_loss_is_of_the_last_epoch_and_all_seeds():
    curves = [
        dict(epoch=np.array([1, 2, 2]), loss=np.array([9.0, 1.0, 2.0])),
        dict(epoch=np.array([2]), loss=np.array([0.5])),
    ]
    runs = [result(dict.fromkeys((2, 4, 6, 8), 1), curve=curve) for curve in [*curves, []]]
    assert evidence.loss_rows({'TSM': runs, 'PAN En': runs[2:]}) == (['TSM'], [['1.00']])


def test_what_the_page_says_of_people_and_losses_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records)
    differences = evidence.differences_by_subject(found)
    for pair in (('TSM', 'TSN'), ('PAN RGB', 'TSM'), ('PAN PA', 'TSM')):
        assert min(differences[pair].values()) > 0
    for model in ('PAN PA', 'PAN Lite'):
        added = differences[model, 'PAN RGB']
        assert min(added[6], added[8]) > 10 and added[2] < 0
    for pair in (('PAN PA', 'PAN RGB'), ('PAN Lite', 'PAN RGB'), ('PAN Lite', 'TSM')):
        low, high = evidence.interval(list(differences[pair].values()))
        assert low < 0 < high
    for model, plain, mean in (
        ('PAN PA', 'Differences', 0.6),
        ('PAN Lite', 'Lite with differences', -0.1),
        ('PAN PA, square roots', 'PAN PA', 0.7),
    ):
        for own in (found[model], found[plain]):
            assert [result.seed for result in own] == [0, 1, 2]
        lead = list(differences[model, plain].values())
        low, high = evidence.interval(lead)
        assert np.mean(lead) == pytest.approx(mean, abs=0.05) and low < 0 < high
    lead = differences['PAN PA', 'Differences']
    assert min(lead.values()) > 0 and max(lead.values()) == lead[4] == pytest.approx(1.2, abs=0.05)
    for pair in evidence.paired(found['PAN PA'], found['Differences']):
        assert evidence.mcnemar(*pair) > 0.05
    roots = [result.accuracies['top1'] for result in found['PAN PA, square roots']]
    assert np.std(roots, ddof=1) > 0.7  # than which their lead over PA is less
    models, (losses,) = evidence.loss_rows(found)
    losses = dict(zip(models, map(float, losses)))
    with_cue = [losses.pop(m) for m in list(losses) if re.match('PAN PA|PAN Lite|.*ifferences', m)]
    assert max(with_cue) < min(losses.values()) and losses['TSM'] > losses['PAN RGB']


@pytest.fixture(scope='module')
def eight_subjects():
    """Results at 64 × 64 pixels on both splits."""
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    first, swapped = (
        results_by_model(records, report.MODELS_64, split)[0] for split in ('test', 'swap')
    )
    return {model: [*first[model], *swapped[model]] for model in report.MODELS_64}


def test_what_the_page_concludes_of_rivals_holds(eight_subjects):
    differences = evidence.differences_by_subject(eight_subjects, evidence.RIVALS)
    for rival in ('TSM, 4 × 8 frames', 'TSM, 32 frames'):  # the latter has one seed of one split
        assert min(differences.pop(('PAN PA', rival)).values()) > 0
    lead = {pair: list(own.values()) for pair, own in differences.items()}
    assert {len(own) for own in lead.values()} == {8}
    top1 = {m: [r.accuracies['top1'] for r in own] for m, own in eight_subjects.items()}
    assert abs(np.mean(np.subtract(top1['TSM, 4 × 8 frames'], top1['TSM']))) < 1.5
    assert top1['TSM, 32 frames'][0] < min(top1['TSM'][:3])
    low = {pair: evidence.interval(own)[0] for pair, own in lead.items()}
    high = {pair: evidence.interval(own)[1] for pair, own in lead.items()}
    mean = {pair: np.mean(own) for pair, own in lead.items()}
    for model in {model for pair in lead for model in pair}:
        assert [result.seed for result in eight_subjects[model]] == [0, 1, 2, 0, 1, 2]
    for rival in ('TSM', 'PAN RGB'):
        assert min(lead['PAN PA', rival]) > 0 and low['PAN Lite', rival] > 0
    assert mean['PAN PA', 'Differences'] == pytest.approx(-0.1, abs=0.05)
    assert mean['PAN Lite', 'Lite with differences'] == pytest.approx(2.1, abs=0.05)
    for pair in (('PAN PA', 'Differences'), ('PAN Lite', 'Lite with differences')):
        assert low[pair] < 0 < high[pair]
    assert mean['PAN PA', 'Signed differences'] == pytest.approx(-2.6, abs=0.05)
    assert high['PAN PA', 'Signed differences'] < 0
    for rival, points in (('PAN PA', 1.5), ('Differences', 1.4), ('Signed differences', -1)):
        pair = 'PAN PA, square roots', rival
        assert mean[pair] == pytest.approx(points, abs=0.05)
        assert low[pair] > 0 if rival == 'Differences' else low[pair] < 0 < high[pair]
    assert low['PAN PA, square roots', 'Differences'] < 0.1
    lead_of = differences['PAN PA, square roots', 'PAN PA']
    assert lead_of[7] == pytest.approx(0.9, abs=0.05)  # whose clips are the dev split
    assert mean['PAN PA', 'Stack'] == pytest.approx(12, abs=0.5)
    assert mean['Differences', 'TSM'] == pytest.approx(mean['PAN PA', 'TSM'], abs=1)
    assert low['TSM with maximum', 'TSM'] > 0
    assert low['PAN RGB', 'TSM with maximum'] < 0 < high['PAN RGB', 'TSM with maximum']


def test_longer_schedules_are_of_the_same_seeds():
    curve = dict(epoch=np.array([1, 2]), loss=np.array([9.0, 0.5]))
    hits = dict.fromkeys((2, 4, 6, 8), 1)
    runs = [
        result(hits, seed=seed, curve=curve, accuracies=dict(top1=top1))
        for seed, top1 in ((0, 10), (1, 30), (0, 50))
    ]
    found = {30: {'TSM': runs[:2], 'TSN': runs[:1]}, 120: {'TSM': runs[2:], 'TSN': []}}
    _, rows = evidence.schedule_rows(found)
    assert rows == [['TSM', '30', '0', '10.0', '0.50'], ['TSM', '120', '0', '50.0', '0.50']]


def test_what_the_page_says_of_longer_schedules_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    longer, _ = results_by_model(records, report.MODELS_64, epochs=120)
    plain, _ = results_by_model(records, report.MODELS_64)
    trained = ('TSN', 'TSM', 'PAN RGB', 'PAN PA', 'PAN Lite')
    assert all([result.seed for result in longer[model]] == [0] for model in trained)

    def top1(found, model):
        return found[model][0].accuracies['top1']

    for one, other, kept, before in (
        ('PAN PA', 'TSM', 12, 18),
        ('PAN PA', 'PAN RGB', 5, 10),
        ('PAN Lite', 'TSM', 9, 17),
        ('PAN Lite', 'PAN RGB', 3, 9),
    ):
        for found, points in ((longer, kept), (plain, before)):
            assert top1(found, one) - top1(found, other) == pytest.approx(points, abs=0.5)
        is_chance = evidence.mcnemar(longer[one][0], longer[other][0]) > 0.05
        assert is_chance == ((one, other) == ('PAN Lite', 'PAN RGB'))
        (own,) = evidence.differences_by_subject(longer, [(one, other)]).values()
        assert len(own) == 4 and evidence.interval(list(own.values()))[0] < 0
    gains = [top1(longer, model) - top1(plain, model) for model in trained]
    assert gains == pytest.approx([16, 14, 13, 7, 6], abs=0.5)
    tsn, *losses = (evidence.final_loss(longer[model][0]) for model in trained)
    assert np.ptp(losses) < 0.05 and tsn > 0.4
    assert top1(longer, 'PAN Full') == pytest.approx(89.8, abs=0.05)
    assert evidence.mcnemar(longer['PAN Full'][0], longer['PAN PA'][0]) > 0.05


def test_what_the_page_says_of_the_search_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    dev = [record for record in records if record.info['split'] == 'dev']
    top1: dict = {}
    for record in dev:
        settings = (record.info['config'], json.dumps(record.changes, sort_keys=True))
        top1.setdefault(settings, {})[record.info['seed']] = record.info['top1']
    pa = top1.pop((report.MODELS_64['PAN PA'], '{}'))
    tried = {
        settings: own
        for settings, own in top1.items()
        if re.match('pan-(pa|difference|signed)', settings[0]) and '64px' in settings[0]
    }
    assert sum(config.startswith('pan-pa') for config, _ in tried) == 12

    def leads_of(part):
        (name,) = (settings for settings in tried if part in '{} {}'.format(*settings))
        own = tried.pop(name)
        return [own[seed] - pa[seed] for seed in sorted(own)]

    assert leads_of('"sqrt"') == pytest.approx([9, 0, 1], abs=0.5)
    assert leads_of('pan-pa-signed') == pytest.approx([6, 2, -2], abs=0.5)
    assert leads_of('lr_mult": 5') == pytest.approx([-9], abs=0.5)
    signed = tried.pop((report.MODELS_64['Signed differences'], '{}'))
    assert abs(np.mean([signed[seed] - pa[seed] for seed in (0, 1, 2)])) < 1
    for own in tried.values():
        assert len(own) < 3 and abs(np.mean([own[seed] - pa[seed] for seed in own])) < 3
    for models, split, *means in (
        (MODELS, 'test', 82.6, 81.9),
        (report.MODELS_64, 'test', 79.1, 79.3),
        (report.MODELS_64, 'swap', 82.2, 79.0),
    ):
        found, _ = results_by_model(records, models, split)
        for model, mean in zip(('PAN PA, square roots', 'PAN PA'), means):
            assert [result.seed for result in found[model]] == [0, 1, 2]
            top1 = [result.accuracies['top1'] for result in found[model]]
            assert np.mean(top1) == pytest.approx(mean, abs=0.05)


def test_what_the_page_says_of_distillation_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records, report.MODELS_64)
    (distilled,) = found['PAN Lite, distilled']
    (plain,) = (result for result in found['PAN Lite'] if result.seed == distilled.seed)
    lead = distilled.accuracies['top1'] - plain.accuracies['top1']
    assert lead == pytest.approx(2.6, abs=0.05)
    assert evidence.mcnemar(distilled, plain) == pytest.approx(0.07, abs=0.005)
    pair = ('distilled', 'plain')
    found = dict(zip(pair, ([distilled], [plain])))
    own = evidence.differences_by_subject(found, [pair])[pair]
    assert evidence.interval(list(own.values())) == pytest.approx((-3.4, 8.5), abs=0.05)


def test_what_the_page_says_of_imagenet_weights_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records, report.MODELS_IMAGENET)
    seeds = {model: [result.seed for result in own] for model, own in found.items()}
    assert seeds.pop('TSM') == [0, 1] and all(own == [0] for own in seeds.values())
    leads = evidence.differences_by_subject(found, evidence.MOTION)
    leads = {pair: list(own.values()) for pair, own in leads.items()}
    for rival, points, contains_zero in (('TSM', (10.5, 11.2), False), ('PAN RGB', (5, 6), True)):
        for model, lead in zip(('PAN PA', 'PAN Lite'), points):
            margin = 0.5 if contains_zero else 0.05
            assert np.mean(leads[model, rival]) == pytest.approx(lead, abs=margin)
            assert (evidence.interval(leads[model, rival])[0] < 0) == contains_zero
    scratch, _ = results_by_model(records)
    for model, gain in (('TSM', 6), ('PAN RGB', 4), ('PAN PA', 0), ('PAN Lite', 3)):
        both = (own[model] for own in (found, scratch))
        top1, before = (np.mean([r.accuracies['top1'] for r in results]) for results in both)
        assert top1 - before == pytest.approx(gain, abs=0.5)
        (own, *_), (other, *_) = found[model], scratch[model]
        assert 3.5 < other.gmacs / own.gmacs < 4.7


def test_what_the_page_says_of_randaugment_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records, CANDIDATES_64, 'dev')
    (tsm,), (lite,) = found['TSM, RandAugment'], found['PAN Lite, RandAugment']
    assert tsm.accuracies['top1'] < 10 and evidence.final_loss(tsm) > 3
    (plain,) = (  # the config of 112 pixels, with options
        record
        for record in records
        if record.info['config'] == MODELS['PAN Lite'] and not without_scale(record.changes)
        if (record.info['split'], record.info['epochs']) == ('dev', 30)
    )
    lost = plain.accuracies['top1'] - lite.accuracies['top1']
    assert lost == pytest.approx(21, abs=0.5)


def test_differences_on_several_splits():
    hits = dict.fromkeys((2, 4, 6, 8))
    found = {
        f'split {number}': {
            model: [result(dict.fromkeys(hits, own), seed=0, accuracies=dict(top1=50.0 * own))]
            for model, own in (('TSM', 0), ('PAN PA', number), ('TSN', 0))
        }
        for number in (1, 2)
    }
    found['split 2']['TSN'] = []  # not there on all splits
    head, rows = evidence.split_rows(found, [('PAN PA', 'TSM'), ('PAN PA', 'TSN')])
    assert head[:4] == ['difference', 'split 1', 'split 2', 'mean'] and len(rows) == 1
    assert rows[0][:4] == ['PAN PA − TSM', '+50.0', '+100.0', '+75.0']
    assert rows[0][5] == f'{2 / 2**4:.2g}, {2 / 2**8:.2g}' and len(rows[0]) == len(head)


def test_what_the_page_says_of_jhmdb_holds():
    records, _ = read_records(report.RECORDS_JHMDB, report.CONFIGS)
    found = {
        name: results_by_model(records, report.MODELS_JHMDB, split)[0]
        for name, split in {**report.SPLITS_JHMDB, 'dev': 'dev'}.items()
    }
    dev = found.pop('dev')
    (lite,), (rgb,) = dev['PAN Lite'], dev['PAN RGB']
    assert lite.accuracies['top1'] > rgb.accuracies['top1'] and evidence.mcnemar(lite, rgb) > 0.05
    for model, *gains in (('TSM', -3, 0, -2), ('PAN Lite', 2, 0, 5)):
        (plain,) = dev[model]
        (augmented,), (no_flip,), (mixup,) = (
            dev[f'{model}, RandAugment'],
            *(
                [
                    record
                    for record in records
                    if record.info['config'] == report.MODELS_JHMDB[model]
                    if record.info['split'] == 'dev' and part in str(record.changes)
                ]
                for part in ('flip_ratio', 'Mixup')
            ),
        )
        for changed, gain in zip((augmented, no_flip, mixup), gains):
            gained = changed.accuracies['top1'] - plain.accuracies['top1']
            assert gained == pytest.approx(gain, abs=0.5)
            assert evidence.mcnemar(changed, plain) > 0.05
        loss = evidence.final_loss(plain)
        assert evidence.final_loss(augmented) / loss == pytest.approx(3, abs=0.2)
        assert evidence.final_loss(no_flip) < loss
        assert evidence.final_loss(mixup) / loss == pytest.approx(4, abs=0.3)
    top1 = {
        m: [own[m][0].accuracies['top1'] for own in found.values()]
        for m in dev
        if all(own[m] for own in found.values())
    }

    def lead(one, other):
        return np.subtract(top1[one], top1[other])

    for rival in ('TSN', 'TSM', 'PAN RGB'):
        assert min(lead('PAN PA', rival)) > 0 and 4.5 < lead('PAN PA', rival).mean() < 6.5
    for rival in ('TSM', 'PAN RGB', "PAN Lite, the paper's stem"):
        assert (lead('PAN Lite', rival) > 0).sum() == 2
    assert abs(lead('PAN Lite', 'PAN Lite, motion from zero').mean()) < 1
    for model in ('PAN Lite', 'PAN Lite, motion from zero'):
        over_the_paper = lead(model, "PAN Lite, the paper's stem")
        assert over_the_paper.mean() == pytest.approx(3, abs=0.5)
        assert (over_the_paper > 0).sum() == 2
    over_differences = lead('PAN Lite', 'Lite with differences')
    assert over_differences.mean() == pytest.approx(3, abs=0.5) and min(over_differences) > 0
    for own in found.values():
        (one,), (other,) = own['PAN Lite'], own['Lite with differences']
        assert evidence.mcnemar(one, other) > 0.05
