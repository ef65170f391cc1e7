"""Scores that tools/test.py --dump has written."""

from pathlib import Path
from typing import Union

import numpy as np
import torch

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


def scores_and_labels(samples: list) -> tuple:
    """Stack the scores, float32, (N, num_classes), and labels, int, (N,), of dumped samples."""
    scores = torch.stack([sample['pred_score'].float() for sample in samples])
    labels = [sample['gt_label'] for sample in samples]
    if any(label.numel() != 1 for label in labels):
        raise DataError('accuracies and calibration need one label of each video')
    return scores.numpy(), np.array([int(label) for label in labels])
