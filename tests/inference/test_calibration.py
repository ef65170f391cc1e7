"""Temperature, threshold, and how a model comes to have them."""

import numpy as np
import pytest
import torch

from pan_mm.apis import PANInferencer
from pan_mm.inference.calibration import (
    Calibration,
    fit_temperature,
    read_calibration,
    threshold_for,
)
from pan_mm.utils.errors import CheckpointError


@pytest.fixture
def overconfident():
    """Probabilities of logits three times too large, and labels drawn from the right ones."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(20_000, 5)))
    honest = logits.softmax(1).numpy()
    labels = np.array([rng.choice(5, p=p) for p in honest])
    return (3 * logits).softmax(1).numpy(), honest, labels


def test_the_temperature_is_found(overconfident):
    probabilities, honest, labels = overconfident
    temperature = fit_temperature(probabilities, labels)
    assert temperature == pytest.approx(3, rel=0.05)
    calibrated = Calibration(temperature)(torch.from_numpy(probabilities)).numpy()
    assert np.abs(calibrated - honest).max() < 0.02


def test_the_threshold_is_reached_by_the_share():
    probabilities = np.stack([np.linspace(0.5, 1, 101), np.linspace(0.5, 0, 101)], 1)
    threshold = threshold_for(probabilities, 0.6)
    assert (probabilities.max(1) >= threshold).mean() == pytest.approx(0.6, abs=0.01)


def test_order_stays():
    probabilities = torch.rand(4, 6).softmax(1)
    calibrated = Calibration(1.7)(probabilities)
    assert torch.equal(calibrated.argsort(1), probabilities.argsort(1))
    assert torch.allclose(calibrated.sum(1), torch.ones(4))
    assert torch.equal(Calibration()(probabilities), probabilities)


@pytest.mark.parametrize('found', [3, dict(temperature='hot'), dict(temperature=0), dict(other=1)])
def test_bad_calibrations(found):
    with pytest.raises(CheckpointError, match=r'a\.pth: its calibration'):
        read_calibration(dict(calibration=found), 'a.pth')


def test_an_inferencer_says_where_it_is_unsure(config, checkpoint, videos, tmp_path):
    video = videos / '0.mp4'
    (plain,) = PANInferencer(config, checkpoint, 'cpu')(video)
    assert 'unsure' not in plain
    state = torch.load(checkpoint, weights_only=True)
    state['meta'] = dict(dataset_meta=dict(calibration=dict(temperature=2.0, threshold=0.99)))
    torch.save(state, tmp_path / 'calibrated.pth')
    (unsure,) = PANInferencer(config, tmp_path / 'calibrated.pth', 'cpu')(video)
    assert unsure['unsure'] is True
    assert unsure['top'][0]['score'] < plain['top'][0]['score']
    assert [t['label'] for t in unsure['top']] == [t['label'] for t in plain['top']]
    (shown,) = PANInferencer(config, tmp_path / 'calibrated.pth', 'cpu', reject=False)(video)
    assert 'unsure' not in shown and shown['top'] == unsure['top']
