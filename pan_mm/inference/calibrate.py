"""Fitting a calibration to the scores of videos that a model was not trained on."""

from pathlib import Path
from typing import Union

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from pan_mm.utils.errors import DataError

from .calibration import Calibration
from .score_fusion import load_scores, scores_and_labels

COVERAGE = 0.6  # share of validation videos of which a model is to be sure
BINS = 15  # of the expected calibration error


def calibrate(path: Union[str, Path], coverage: float = COVERAGE) -> Calibration:
    """Fit a calibration to scores of videos that the model was not trained on.

    Args:
        path (str | Path): Scores that ``tools/test.py --dump`` wrote.
        coverage (float): Share of these videos that reach the threshold.

    Raises:
        DataError: If the videos have several labels.
        ValueError: If ``coverage`` is not between 0 and 1.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f'coverage must be above 0 and at most 1, got {coverage}')
    scores, labels = scores_and_labels(load_scores(path))
    if labels.ndim != 1:
        raise DataError(f'{path}: a temperature is for one label per video')
    return fit_calibration(as_probabilities(scores), labels, coverage)


def fit_calibration(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float = COVERAGE
) -> Calibration:
    """Fit a temperature (:func:`fit_temperature`) and the threshold for a coverage."""
    temperature = fit_temperature(probabilities, labels)
    honest = calibrated(probabilities, temperature)
    return Calibration(temperature, threshold_for(honest, coverage))


def calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, num_classes) at a temperature."""
    return Calibration(temperature)(torch.from_numpy(probabilities)).numpy()


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Probabilities (N, num_classes) of scores that may be logits."""
    if scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-3):
        return scores.astype(float)
    return softmax(scores.astype(float), axis=1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature with the lowest mean negative log-likelihood.

    Args:
        probabilities (np.ndarray): Shape (N, num_classes).
        labels (np.ndarray): Shape (N,).
    """
    logs = np.log(np.clip(probabilities.astype(float), 1e-12, None))

    def loss(log_temperature):
        scaled = log_softmax(logs / np.exp(log_temperature), axis=1)
        return -scaled[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method='bounded').x))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance of confidence and accuracy, over bins of equal width, weighted by videos."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = 0.0
    for each in np.unique(bins):
        own = bins == each
        error += own.mean() * abs(right[own].mean() - confidence[own].mean())
    return float(error)


def threshold_for(probabilities: np.ndarray, coverage: float) -> float:
    """The threshold that a share of ``coverage`` of these videos reaches."""
    return float(np.quantile(probabilities.max(1), 1 - coverage))
