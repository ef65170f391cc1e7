"""Fusion of the scores that tools/test.py --dump has written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
import torch
from mmaction.evaluation import mean_class_accuracy

from pan_mm.utils.errors import DataError
from pan_mm.utils.pickles import load_pickle

NAME_KEYS = ('filename', 'frame_dir')


def _is(value, floating):
    real = isinstance(value, torch.Tensor) and not value.is_complex()
    return real and value.is_floating_point() == floating


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
    classes = None
    for index, sample in enumerate(samples):
        fields = sample if isinstance(sample, dict) else {}
        score, label = fields.get('pred_score'), fields.get('gt_label')
        several = _is(label, floating=True) and getattr(score, 'shape', None) == label.shape
        if not _is(score, floating=True) or not (_is(label, floating=False) or several):
            raise DataError(f'{path}: sample {index} has no pred_score and gt_label')
        classes = classes or score.shape
        if score.ndim != 1 or score.shape != classes:
            raise DataError(
                f'{path}: the scores of sample {index} are {tuple(score.shape)}, not one for each '
                'class; test with average_clips set, and the same classes for all'
            )
        if not score.isfinite().all():
            raise DataError(f'{path}: the scores of sample {index} are not finite')
    return samples


def _names(samples: list) -> Optional[list]:
    """List what identifies the videos; None where the files do not say."""
    for key in NAME_KEYS:
        if all(key in sample for sample in samples):
            return [str(sample[key]) for sample in samples]
    return None


def _are_probabilities(samples: list) -> bool:
    scores = torch.stack([sample['pred_score'] for sample in samples]).double()
    return bool((scores >= 0).all() and ((scores.sum(dim=1) - 1).abs() < 1e-3).all())


def _aligned(samples: list, like: list, path: str, first: str) -> list:
    """``samples`` in the order of ``like``, refused where they are not the same videos."""
    names, wanted = _names(samples), _names(like)
    if (names is None) != (wanted is None):
        bare = path if names is None else first
        raise DataError(f'{bare} does not name its videos, the other file does; test it again')
    if names is not None:
        place = {name: index for index, name in enumerate(names)}
        if len(place) != len(names) or len(set(wanted)) != len(wanted):
            raise DataError(f'a video is listed twice in {path} or {first}')
        odd = sorted(set(names) ^ set(wanted))
        if odd:
            where = path if odd[0] in place else first
            raise DataError(
                f'{first} and {path} are not of the same videos: {len(odd)} are in only one, '
                f'such as {odd[0]} in {where}'
            )
        samples = [samples[place[name]] for name in wanted]
    elif len(samples) != len(like):
        raise DataError(f'{first} has {len(like)} videos, {path} has {len(samples)}')
    for index, (sample, other) in enumerate(zip(samples, like)):
        if not torch.equal(sample['gt_label'], other['gt_label']):
            video = wanted[index] if wanted else f'number {index}'
            raise DataError(
                f'video {video} has the label {other["gt_label"].tolist()} in {first}, but '
                f'{sample["gt_label"].tolist()} in {path}; '
                + ('they were tested with other annotations' if wanted else 'other videos or order')
            )
    if samples[0]['pred_score'].shape != like[0]['pred_score'].shape:
        raise DataError(
            f'{first} has {len(like[0]["pred_score"])} classes, {path} has '
            f'{len(samples[0]["pred_score"])}'
        )
    if _are_probabilities(samples) != _are_probabilities(like):
        raise DataError(
            f'one of {first} and {path} holds probabilities, the other logits; test both with '
            "average_clips='score'"
        )
    return samples


def fuse_scores(paths: Sequence, weights: Optional[Sequence] = None) -> list:
    """Weighted mean of dumped scores, video by video.

    Videos are matched by ``filename`` or ``frame_dir`` where the files hold it, that is if
    ``PackActionInputs(meta_keys=...)`` of the test pipeline names it. Otherwise they are matched
    by their place, and number and labels of all videos must agree.

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
    if len(weights) != len(paths):
        raise ValueError(f'{len(paths)} files need as many weights, got {len(weights)}')
    if not paths or min(weights) < 0 or not 0 < sum(weights) < float('inf'):
        raise ValueError(f'weights must be positive, got {weights}')
    first, *others = (load_scores(path) for path in paths)
    files = [first]
    for path, samples in zip(paths[1:], others):
        files.append(_aligned(samples, first, str(path), str(paths[0])))
    fused = []
    for video in zip(*files):
        scores = torch.stack([sample['pred_score'].double() for sample in video])
        score = torch.tensor(weights, dtype=torch.float64) @ scores / sum(weights)
        fused.append(
            {**video[0], 'pred_score': score.float(), 'pred_label': score.argmax().view(1)}
        )
    return fused


def scores_and_labels(samples: list) -> tuple:
    """Arrays of dumped scores.

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

    Of classes with equal scores the lower label comes first, in all three alike; MMAction2's
    ``AccMetric``, which else counts the same, breaks ties in top-1 and in the mean in two ways.

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
