"""Results of a test class by class, and its confusions."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmaction.evaluation import mean_average_precision

from pan_mm.utils.errors import DataError


class ClassResult(NamedTuple):
    """Result of a test on one class.

    Attributes:
        name (str): Its name.
        videos (int): How many have the label.
        value (float): The share of them that was recognized (recall), or, where videos have
            several labels, the average precision; in percent, NaN without videos.
        precision (float): The share of those recognized as the class that have the label, in
            percent; NaN where there are none, or where videos have several labels.
        mistaken (list[tuple[str, int]]): What else its videos were recognized as, most often
            first.
    """

    name: str
    videos: int
    value: float
    precision: float
    mistaken: list


def per_class(scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list:
    """Compute recall, precision and confusions of each class.

    Args:
        scores (np.ndarray): Shape (N, num_classes).
        labels (np.ndarray): Int, shape (N,); of several labels 0 and 1, shape (N, num_classes).
        names (Sequence[str]): Class names.

    Returns:
        list[ClassResult]: In the order of the labels.

    Raises:
        DataError: If the names are not as many as the classes.
    """
    if len(names) != scores.shape[1]:
        raise DataError(f'{len(names)} class names for scores of {scores.shape[1]} classes')
    if labels.ndim == 2:
        return [
            ClassResult(name, int(own.sum()), _average_precision(score, own), float('nan'), [])
            for name, score, own in zip(names, scores.T, labels.T)
        ]
    found = scores.argmax(axis=1)
    results = []
    for label, name in enumerate(names):
        taken = Counter(found[labels == label].tolist())
        hits, videos = taken.pop(label, 0), int((labels == label).sum())
        mistaken = [(names[other], count) for other, count in taken.most_common()]
        called = int((found == label).sum())
        results.append(
            ClassResult(name, videos, _percent(hits, videos), _percent(hits, called), mistaken)
        )
    return results


def _percent(part, whole):
    return 100 * part / whole if whole else float('nan')


def _average_precision(scores, labels):
    if not labels.any():
        return float('nan')
    return 100 * float(mean_average_precision(list(scores[:, None]), list(labels[:, None])))
