"""The sentence that a training ends with, in the situations that newcomers meet."""

import math

import pytest

from pan_mm.engine.verdict import Fit, accuracy, advice, chance, report


def pairs(table):
    """(label, predicted) pairs of a confusion matrix."""
    return [
        (label, predicted)
        for label, row in enumerate(table)
        for predicted, number in enumerate(row)
        for _ in range(number)
    ]


def fit(train, val=((5, 0, 0), (0, 5, 0), (0, 0, 5)), counts=(40, 40, 40), loss=0.1, flips=False):
    return Fit(['left', 'right', 'throw'], counts, pairs(train), pairs(val), loss, 30, flips)


LEARNED = (40, 0, 0), (0, 40, 0), (0, 0, 40)
BY_HEART = (3, 1, 1), (2, 2, 1), (2, 2, 1)
SIDES_MIXED = (22, 18, 0), (19, 21, 0), (0, 0, 40)
HALF = (20, 10, 10), (5, 30, 5), (10, 10, 20)
GUESSED = (0, 40, 0), (0, 40, 0), (1, 39, 0)


@pytest.mark.parametrize(
    ('situation', 'said'),
    [
        (fit(LEARNED), 'fine'),
        (fit(LEARNED, BY_HEART, (40, 40, 5)), "too few videos of 'throw' (5)"),
        (fit(LEARNED, BY_HEART), 'by heart'),
        (
            fit(SIDES_MIXED, flips=True),
            "looks like flipped labels: 'left' and 'right' are taken for each other",
        ),
        (fit(SIDES_MIXED), "'left' and 'right' are taken for each other, even in training"),
        (fit(HALF, loss=0.8), 'still learning: train on, with --resume and epochs=60'),
        (fit(GUESSED, loss=1.09), 'nothing learned yet'),
    ],
)
def test_advice(situation, said):
    assert said in advice(situation)


@pytest.mark.parametrize(('flips', 'said'), [(True, 'flipped labels'), (False, 'nothing learned')])
def test_of_two_classes_only_mirror_images_tell(flips, said):
    two = fit(((22, 18), (19, 21)), ((5, 0), (0, 5)), (40, 40), 0.69, flips)
    assert said in advice(two._replace(classes=['left', 'right']))


def test_report():
    lines = report(fit(LEARNED, BY_HEART, (40, 40, 5))).splitlines()
    assert lines[0] == 'training accuracy 100.0 % of 120 videos, chance 33.3 %'
    assert lines[1] == 'validation accuracy 40.0 % of 15 videos, chance 33.3 %'
    assert lines[2] == f'loss 0.10 in the last epoch, {math.log(3):.2f} where it guesses'
    assert [line.split() for line in lines[4:7]] == [
        ['left', '40', '40/40', '3/5'],
        ['right', '40', '40/40', '2/5'],
        ['throw', '5', '40/40', '1/5'],
    ]
    assert lines[-1].startswith('Verdict: too few videos')


def test_accuracy_and_chance():
    assert accuracy([(0, 0), (0, 1), (1, 1), (0, 0)]) == 0.75
    assert chance([(0, 0), (0, 1), (1, 1), (0, 0)]) == 0.75
