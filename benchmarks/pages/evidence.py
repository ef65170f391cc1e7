"""What differences rest on: the people in the test, and how far each model is trained."""

import re
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t

DIFFERENCES = (
    ('TSM', 'TSN'),
    ('PAN RGB', 'TSM'),
    ('PAN Lite', 'PAN RGB'),
    ('PAN Lite', 'TSM'),
    ('PAN PA', 'PAN RGB'),
    ('PAN PA', 'TSM'),
    ('PAN Lite', 'PAN PA'),
    ('PAN Full', 'PAN Lite'),
)


def by_subject(results: Sequence) -> dict:
    """Percent recognized of the clips of each person, mean over the results of a model.

    UTD-MHAD's clips are named a3_s2_t1_depth.mp4; those named otherwise are left out.
    """
    shares: dict = {}
    for result in results:
        hits = result.scores.argmax(1) == result.labels
        found = [re.search(r'_s(\d+)_', clip) for clip, _ in result.clips]
        subjects = np.array([int(match.group(1)) if match else 0 for match in found])
        for subject in set(subjects.tolist()) - {0}:
            shares.setdefault(subject, []).append(100 * hits[subjects == subject].mean())
    return {subject: statistics.mean(values) for subject, values in sorted(shares.items())}


def interval(values: Sequence[float]) -> tuple:
    """95 % interval of the mean of a few values, of Student's t distribution."""
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def differences_by_subject(found: Mapping, pairs: Sequence[tuple] = DIFFERENCES) -> dict:
    """Points by which one model is ahead of another, {pair: {subject: points}}."""
    models = {model for pair in pairs for model in pair if found.get(model)}
    shares = {model: by_subject(found[model]) for model in models}
    return {
        (one, other): {s: shares[one][s] - shares[other][s] for s in shares[one]}
        for one, other in pairs
        if one in shares and other in shares
    }


def subject_rows(found: Mapping) -> tuple:
    """Head and rows of the table of differences by subject."""
    differences = differences_by_subject(found)
    subjects = sorted({subject for own in differences.values() for subject in own})
    head = ['difference', *(f'subject {s}' for s in subjects), 'mean', '95 % interval']
    rows = []
    for (one, other), own in differences.items():
        points = list(own.values())
        if len(points) > 1:
            numbers = [f'{point:+.1f}' for point in (*points, statistics.mean(points))]
            low, high = interval(points)
            rows.append([f'{one} − {other}', *numbers, f'{low:+.1f} … {high:+.1f}'])
    return head, [[cell.replace('-', '−') for cell in row] for row in rows]


def final_loss(result) -> float:
    """Mean training loss that the last epoch logged."""
    epochs, losses = result.curve['epoch'], result.curve['loss']
    return float(losses[epochs == epochs[-1]].mean())


def loss_rows(found: Mapping) -> tuple:
    """Head and rows of the table of training losses at the end, mean over seeds."""
    losses = {
        model: [final_loss(result) for result in results if result.curve]
        for model, results in found.items()
    }
    shown = {model: statistics.mean(values) for model, values in losses.items() if values}
    return list(shown), [[f'{loss:.2f}' for loss in shown.values()]]
