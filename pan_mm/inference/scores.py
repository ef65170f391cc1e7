"""Scores that tools/test.py --dump has written: reading, fusion and accuracies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from mmaction.evaluation import mean_class_accuracy

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
    shape = None
    for index, sample in enumerate(samples):
        fields = sample if isinstance(sample, dict) else {}
        score, label = fields.get('pred_score'), fields.get('gt_label')
        if not (torch.is_tensor(score) and torch.is_tensor(label) and score.is_floating_point()):
            raise DataError(f'{path}: sample {index} has no pred_score and gt_label')
        shape = shape or score.shape
        if score.ndim != 1 or score.shape != shape or not score.isfinite().all():
            raise DataError(
                f'{path}: sample {index} has scores of the shape {tuple(score.shape)}, or not '
                'finite; each video needs one number for each class, so test with average_clips set'
            )
    return samples


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
        shape (N,).

    Raises:
        DataError: If a video has several labels.
    """
    scores = torch.stack([sample['pred_score'].float() for sample in samples])
    labels = [sample['gt_label'] for sample in samples]
    if any(label.numel() != 1 for label in labels):
        raise DataError('accuracies and calibration need one label of each video')
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
    """
    hits = np.argsort(-scores, axis=1, kind='stable')[:, :5] == labels[:, None]
    shares = hits[:, 0].mean(), hits.any(1).mean(), mean_class_accuracy(list(scores), list(labels))
    return {k: 100 * float(v) for k, v in zip(('top1', 'top5', 'mean_class'), shares)}
