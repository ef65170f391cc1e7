"""Scores that tools/test.py --dump has written: their fusion, accuracies and confusions."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import torch
from mmaction.evaluation import mean_average_precision, mean_class_accuracy

from pan_mm.utils.errors import DataError
from pan_mm.utils.plain_data import load_pickle

NAME_KEYS = ('filename', 'frame_dir')


def load_scores(path: Union[str, Path]) -> list:
    """Read a file of ``DumpResults`` (``tools/test.py --dump``); no code in it is run.

    Returns:
        list[dict]: For each video at least ``pred_score`` and ``gt_label``, tensors.

    Raises:
        DataError: If the file is damaged, no dump of scores, or would run code.
        OSError: If it cannot be read.
    """
    with open(path, 'rb') as file:
        samples = load_pickle(file, str(path))
    if not isinstance(samples, list) or not samples:
        raise DataError(f'{path} holds no list of scores; write it with tools/test.py --dump')
    for index, sample in enumerate(samples):
        if fault := _fault_of(sample, samples[0]):
            raise DataError(f'{path}: sample {index} has {fault}')
    return samples


def _fault_of(sample: Any, first: dict) -> str:
    """Describe the fault of a sample, or return an empty text."""
    fields = sample if isinstance(sample, dict) else {}
    score, label = fields.get('pred_score'), fields.get('gt_label')
    are_tensors = torch.is_tensor(score) and torch.is_tensor(label) and not label.is_complex()
    if not are_tensors or not score.is_floating_point():
        return 'no pred_score and gt_label'
    several = label.is_floating_point() and label.shape != score.shape
    if several or score.ndim != 1 or score.shape != first['pred_score'].shape:
        return (
            f'scores of the shape {tuple(score.shape)}, not one for each class; test with '
            'average_clips set, and the same classes for all'
        )
    return '' if score.isfinite().all() else 'scores that are not finite'


def fuse_scores(paths: Sequence, weights: Optional[Sequence] = None) -> list:
    """Weighted mean of dumped scores, video by video.

    Videos are matched by their place. Their number and labels must agree, and so must ``filename``
    or ``frame_dir`` where ``PackActionInputs(meta_keys=...)`` of the test pipeline names it.

    Args:
        paths (Sequence[str | Path]): Files of ``DumpResults``, two or more.
        weights (Sequence[float], optional): One for each file. Defaults to equal weights.

    Returns:
        list[dict]: As in the first file, with ``pred_score`` (float32) and ``pred_label`` fused.

    Raises:
        DataError: If the files cannot be read, are not of the same videos, labels and classes,
            or mix logits and probabilities.
        ValueError: If the weights do not fit.
        OSError: If a file cannot be read.
    """
    weights = [1.0] * len(paths) if weights is None else list(weights)
    if len(weights) != len(paths) or min(weights) < 0 or not 0 < sum(weights) < float('inf'):
        raise ValueError(f'{len(paths)} files need as many positive weights, got {weights}')
    first, *others = files = [load_scores(path) for path in paths]
    for path, samples in zip(paths[1:], others):
        _check_alike(samples, first, f'{paths[0]} and {path}')
    scores = [torch.stack([sample['pred_score'].double() for sample in file]) for file in files]
    fused = torch.from_numpy(np.average(torch.stack(scores).numpy(), axis=0, weights=weights))
    return [
        {**sample, 'pred_score': score.float(), 'pred_label': score.argmax().view(1)}
        for sample, score in zip(first, fused)
    ]


def _check_alike(samples: list, like: list, files: str) -> None:
    """Refuse scores that are not of the same videos in the same order, or not of the same kind."""
    if len(samples) != len(like):
        raise DataError(f'{files} are of {len(like)} and {len(samples)} videos')
    for index, (one, other) in enumerate(zip(like, samples)):
        for key in (*NAME_KEYS, 'gt_label'):
            mine, theirs = (_plain(sample.get(key)) for sample in (one, other))
            if None not in (mine, theirs) and mine != theirs:
                raise DataError(
                    f'{files}: {key} of video {index} is {mine}, then {theirs}; test both on one '
                    'list'
                )
    classes = [len(each[0]['pred_score']) for each in (like, samples)]
    if classes[0] != classes[1] or _are_probabilities(samples) != _are_probabilities(like):
        raise DataError(
            f'{files} have {classes[0]} and {classes[1]} classes, or one holds probabilities, the '
            "other logits; test both with the same classes and average_clips='score'"
        )


def _plain(value: Any) -> Any:
    return value.tolist() if torch.is_tensor(value) else value


def _are_probabilities(samples: list) -> bool:
    scores = torch.stack([sample['pred_score'] for sample in samples]).double()
    return bool((scores >= 0).all() and ((scores.sum(dim=1) - 1).abs() < 1e-3).all())


def scores_and_labels(samples: list) -> tuple:
    """Stack dumped scores and labels.

    Args:
        samples (list[dict]): As of :func:`load_scores` or :func:`fuse_scores`.

    Returns:
        tuple[np.ndarray, np.ndarray]: Scores, float32, shape (N, num_classes), and labels, int,
        shape (N,); where videos have several, zeros and ones, shape (N, num_classes).

    Raises:
        DataError: If only some videos have several labels.
    """
    scores = torch.stack([sample['pred_score'].float() for sample in samples])
    labels = [sample['gt_label'] for sample in samples]
    if all(label.is_floating_point() for label in labels):
        return scores.numpy(), torch.stack(labels).int().numpy()
    if any(label.numel() != 1 for label in labels):
        raise DataError('some videos have one label, others several; accuracies need one kind')
    return scores.numpy(), np.array([int(label) for label in labels])


def accuracies(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Top-1, top-5 and mean class accuracy of single-label scores, in percent.

    Among equal scores the lower label comes first in all three; MMAction2's ``AccMetric``, which
    otherwise counts the same, breaks ties in top-1 and in the mean in two ways.

    Args:
        scores (np.ndarray): Shape (N, num_classes).
        labels (np.ndarray): Int, shape (N,).

    Returns:
        dict[str, float]: ``top1``, ``top5``, ``mean_class``.

    Raises:
        DataError: If the videos have several labels.
    """
    if labels.ndim != 1:
        raise DataError('accuracies need one label of each video; see tools/analysis/per_class.py')
    hits = np.argsort(-scores, axis=1, kind='stable')[:, :5] == labels[:, None]
    shares = hits[:, 0].mean(), hits.any(1).mean(), mean_class_accuracy(list(scores), list(labels))
    return {k: 100 * float(v) for k, v in zip(('top1', 'top5', 'mean_class'), shares)}


class ClassResult(NamedTuple):
    """Result of a test on one class.

    Attributes:
        name (str): Its name.
        videos (int): Number of videos that have the label.
        value (float): The share of them that was recognized (recall), or, where videos have
            several labels, the average precision; in percent, NaN without videos.
        precision (float): The share of those recognized as the class that have the label, in
            percent; NaN where there are none, or where videos have several labels.
        mistaken (list[tuple[str, int]]): Other classes that its videos were recognized as, most
            often first.
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
        DataError: If there are more or fewer names than classes.
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
        recall, precision = _percent(hits, videos), _percent(hits, int((found == label).sum()))
        results.append(ClassResult(name, videos, recall, precision, mistaken))
    return results


def _percent(part, whole):
    return 100 * part / whole if whole else float('nan')


def _average_precision(scores, labels):
    if not labels.any():
        return float('nan')
    return 100 * float(mean_average_precision(list(scores[:, None]), list(labels[:, None])))
