"""Calibrated probabilities, and a threshold below which a model is unsure."""

from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
from torch import Tensor

from pan_mm.utils.errors import CheckpointError, shown

from .scores import load_scores, scores_and_labels

COVERAGE = 0.6  # share of validation videos above the threshold


class Calibration(NamedTuple):
    """Temperature and threshold, fitted on videos that the model was not trained on."""

    # Divides logits before the softmax (Guo et al., "On Calibration of Modern Neural Networks").
    temperature: float = 1.0
    threshold: float = 0.0  # a class that is less probable is not to be relied on

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Calibrate probabilities (…, num_classes), such as a softmax gives."""
        if self.temperature == 1:
            return probabilities
        powers = probabilities.clamp(min=1e-12) ** (1 / self.temperature)
        return powers / powers.sum(dim=-1, keepdim=True)


def read_calibration(dataset_meta: Optional[dict], source: str) -> Calibration:
    """Take the calibration from what a checkpoint says of its dataset; none where there is none."""
    found = (dataset_meta or {}).get('calibration')
    if found is None:
        return Calibration()
    try:
        own = Calibration(**found)
        is_valid = 0.01 <= own.temperature <= 100 and 0 <= own.threshold <= 1
    except TypeError:  # other keys, or no numbers
        is_valid = False
    if not is_valid:
        raise CheckpointError(f'{source}: its calibration is {shown(found)}, or out of range')
    return own


def calibrate(path: Union[str, Path], coverage: float = COVERAGE) -> Calibration:
    """Fit a calibration to scores that ``tools/test.py --dump`` wrote.

    Args:
        path (str | Path): Scores of videos that the model was not trained on.
        coverage (float): Share of these videos that reach the threshold, 0 to 1.
    """
    scores, labels = scores_and_labels(load_scores(path))
    return fit_calibration(as_probabilities(scores), labels, coverage)


def fit_calibration(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float = COVERAGE
) -> Calibration:
    """Fit a temperature (:func:`fit_temperature`) and the threshold for a coverage."""
    temperature = fit_temperature(probabilities, labels)
    honest = Calibration(temperature)(torch.from_numpy(probabilities)).numpy()
    return Calibration(temperature, threshold_for(honest, coverage))


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Turn scores (N, num_classes) that may be logits into probabilities."""
    scores = scores.astype(float)
    if scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-3):
        return scores
    return torch.from_numpy(scores).softmax(dim=1).numpy()


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature of the lowest negative log-likelihood; shapes (N, classes), (N,)."""
    from scipy.optimize import minimize_scalar  # half a second, which predict need not wait

    logs = torch.from_numpy(probabilities.astype(float)).clamp(min=1e-12).log()
    targets = torch.from_numpy(labels).long()

    def loss(log_temperature):
        return torch.nn.functional.cross_entropy(logs / np.exp(log_temperature), targets).item()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method='bounded').x))


def threshold_for(probabilities: np.ndarray, coverage: float) -> float:
    """Find the threshold that a share of ``coverage`` of these videos reaches."""
    return float(np.quantile(probabilities.max(1), 1 - coverage))
