from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.pages import evidence
from benchmarks.pages import results as report
from benchmarks.records.by_model import Result, results_by_model
from benchmarks.records.records import read_records


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
    models, (losses,) = evidence.loss_rows(found)
    losses = dict(zip(models, map(float, losses)))
    with_pa = [losses.pop(m) for m in list(losses) if m.startswith(('PAN PA', 'PAN Lite'))]
    assert max(with_pa) < min(losses.values()) and losses['TSM'] > losses['PAN RGB']


def test_what_the_page_concludes_of_rivals_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records, report.MODELS_64)
    differences = evidence.differences_by_subject(found, evidence.RIVALS)
    assert min(differences['PAN PA', 'TSM'].values()) > 0
    mean = {pair: np.mean(list(own.values())) for pair, own in differences.items()}
    assert mean['Differences', 'TSM'] == pytest.approx(15, abs=0.5)
    assert mean['PAN PA', 'TSM'] == pytest.approx(18, abs=0.5)
    assert 0 < mean['PAN PA', 'Differences'] < 5
    assert abs(mean['PAN PA', 'Signed differences']) < 1
    swapped, _ = results_by_model(records, report.MODELS_64, 'swap')
    (pa,), (signed,) = swapped['PAN PA'], swapped['Signed differences']
    (absolute,) = swapped['Differences']
    assert evidence.hits_of(pa).sum() < evidence.hits_of(absolute).sum()
    assert signed.accuracies['top1'] - pa.accuracies['top1'] == pytest.approx(4, abs=0.5)
    both = {model: [*found[model], *swapped[model]] for model in report.MODELS_64}
    differences = evidence.differences_by_subject(both, evidence.RIVALS)
    for rival in ('TSM', 'PAN RGB'):
        lead = differences['PAN PA', rival]
        assert len(lead) == 8 and min(lead.values()) > 0
        lead = list(differences['PAN Lite', rival].values())
        assert len(lead) == 8 and evidence.interval(lead)[0] > 0
    for rival in ('Differences', 'Signed differences'):
        lead = list(differences['PAN PA', rival].values())
        low, high = evidence.interval(lead)
        assert len(lead) == 8 and low < 0 < high
    assert np.mean(lead) == pytest.approx(-2, abs=0.5)  # over signed differences


def test_what_the_page_says_of_the_search_holds():
    records, _ = read_records(report.RECORDS, report.CONFIGS)
    found, _ = results_by_model(records, report.MODELS_64, 'dev')
    pa = found.pop('PAN PA')[0]
    tried = {model: runs[0] for model, runs in found.items() if runs}
    assert tried.keys() == {'Differences', 'PAN PA, normalized', 'PAN PA, two scales'}
    for run in tried.values():
        assert abs(run.accuracies['top1'] - pa.accuracies['top1']) < 3
        assert evidence.mcnemar(run, pa) > 0.05
    deltas = [r.info['top1'] for r in records if '_dev_init_delta' in r.path.stem]
    assert len(deltas) == 2 and max(abs(pa.accuracies['top1'] - top1) for top1 in deltas) < 3


def test_what_the_page_says_of_jhmdb_holds():
    found, _ = results_by_model(
        read_records(report.RECORDS_JHMDB, report.CONFIGS)[0], report.MODELS_JHMDB, 'dev'
    )
    (lite,), (rgb,) = found['PAN Lite'], found['PAN RGB']
    assert lite.accuracies['top1'] > rgb.accuracies['top1'] and evidence.mcnemar(lite, rgb) > 0.05
