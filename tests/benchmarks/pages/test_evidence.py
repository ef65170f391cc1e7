from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.pages import evidence
from benchmarks.pages import results as report
from benchmarks.records.by_model import results_by_model
from benchmarks.records.records import read_records


def result(recognized, **kwargs):
    """Of two clips each of subjects 2, 4, 6 and 8, of which those numbers are recognized."""
    clips = [(f'a1_s{s}_t{t}_depth.mp4', 0) for s in (2, 4, 6, 8) for t in (1, 2)]
    hits = [t <= recognized[s] for s in (2, 4, 6, 8) for t in (1, 2)]
    scores = np.array([[1, 0] if hit else [0, 1] for hit in hits])
    return SimpleNamespace(clips=clips, labels=np.zeros(8, int), scores=scores, **kwargs)


def test_difference_by_subject_is_of_the_means_over_seeds():
    tsm = [result({2: 2, 4: 1, 6: 0, 8: 0}), result({2: 2, 4: 0, 6: 0, 8: 1})]
    tsn = [result({2: 1, 4: 1, 6: 0, 8: 0})]
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
