"""Accuracy and confusions of each class, by hand and by the tool."""

import math

import mmengine
import numpy as np
import pytest
import torch

from pan_mm.inference.per_class import per_class
from pan_mm.utils.errors import DataError

# Rows: recognized as 0, 0, 2 | 1, 2 | nothing of 2
SCORES = np.array([[3, 0, 1], [2, 1, 0], [0, 1, 5], [0, 2, 1], [0, 1, 2.0]], np.float32)
LABELS = np.array([0, 0, 0, 1, 1])
SEVERAL = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]])


def test_one_label():
    a, b, c = per_class(SCORES, LABELS, 'abc')
    assert a[:3] == ('a', 3, pytest.approx(200 / 3)) and a.precision == 100
    assert a.mistaken == [('c', 1)] == b.mistaken
    assert (b.videos, b.value, b.precision) == (2, 50, 100)
    assert c.videos == 0 and math.isnan(c.value) and c.precision == 0


def test_several_labels():
    a, b, c = per_class(SCORES, SEVERAL, 'abc')
    assert (a.videos, a.value) == (2, 100)  # both come first by their scores of class a
    assert b.videos == 0 and math.isnan(b.value)
    # Scores of class c in order: 5 (right), 2, two of 1 (both right) at once, 0
    assert c.value == pytest.approx(100 * (1 / 3 * 1 + 2 / 3 * 3 / 4))


def test_names_that_do_not_fit():
    with pytest.raises(DataError, match='2 class names for scores of 3 classes'):
        per_class(SCORES, LABELS, 'ab')


@pytest.mark.slow
def test_tool(tmp_path, run_tool):
    def dump(labels):
        samples = [
            dict(pred_score=torch.tensor(score), gt_label=label)
            for score, label in zip(SCORES, labels)
        ]
        mmengine.dump(samples, tmp_path / 'scores.pkl')
        return run_tool('tools/analysis/per_class.py', tmp_path / 'scores.pkl', *names, check=True)

    names = []
    lines = dump(torch.tensor(LABELS)[:, None]).stdout.splitlines()
    assert lines[1].split() == ['1', '2', '50.0%', '100.0%', '2', '(1)']
    (tmp_path / 'map.txt').write_text('wave\nclap\nsit\n')
    names = ['--label-map', tmp_path / 'map.txt']
    lines = dump(torch.tensor(SEVERAL, dtype=torch.float32)).stdout.splitlines()
    assert 'average precision' in lines[0]
    assert ['wave', '2', '100.0%'] in [line.split() for line in lines]
