"""What differences rest on: people, chance, equal cost, and how far each model is trained."""

import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Optional

import numpy as np
from scipy.stats import binomtest, t

from benchmarks.records.by_model import fuse

DIFFERENCES = (
    ('TSM', 'TSN'),
    ('PAN RGB', 'TSM'),
    ('PAN Lite', 'PAN RGB'),
    ('PAN Lite', 'TSM'),
    ('PAN PA', 'PAN RGB'),
    ('PAN PA', 'TSM'),
    ('PAN PA', 'Differences'),
    ('PAN PA, square roots', 'PAN PA'),
    ('PAN Lite', 'Lite with differences'),
    ('PAN Lite', 'PAN PA'),
    ('PAN Full', 'PAN Lite'),
)
# Is motion worth it?
MOTION = (
    ('PAN PA', 'TSM'),
    ('PAN Lite', 'TSM'),
    ('PAN PA', 'PAN RGB'),
    ('PAN Lite', 'PAN RGB'),
)
# Do the filters of PA do more than plain differences of the same frames?
RIVALS = (
    *MOTION,
    ('PAN PA', 'Differences'),
    ('PAN PA', 'Signed differences'),
    ('PAN PA', 'Stack'),
    ('PAN PA', 'TSM, 4 × 8 frames'),
    ('PAN PA', 'TSM, 32 frames'),
    ('PAN PA, square roots', 'PAN PA'),
    ('PAN PA, square roots', 'Differences'),
    ('PAN PA, square roots', 'Signed differences'),
    ('PAN Lite', 'Lite with differences'),
    ('Differences', 'TSM'),
    ('TSM with maximum', 'TSM'),
    ('PAN RGB', 'TSM with maximum'),
    ("TSM with VAP's dropout", 'TSM'),
)
# On real video, from ImageNet weights: is motion worth it, and how should the stem start?
REAL = (
    ('PAN PA', 'TSN'),
    ('PAN PA', 'TSM'),
    ('PAN PA', 'PAN RGB'),
    ('PAN Lite', 'TSM'),
    ('PAN Lite', 'PAN RGB'),
    ('PAN Lite', "PAN Lite, the paper's stem"),
    ('PAN Lite', 'PAN Lite, motion from zero'),
    ('PAN Lite', 'Lite with differences'),
)
FUSED = ('PAN Full', 'PAN En')


def subject_of(clip: str) -> Optional[int]:
    """The person in a clip of UTD-MHAD, named a3_s2_t1_depth.mp4; None for other names."""
    match = re.search(r'_s(\d+)_', clip)
    return int(match[1]) if match else None


def hits_of(result) -> np.ndarray:
    """Which clips are recognized, bool, shape (N,)."""
    return result.scores.argmax(1) == result.labels


def by_subject(results: Sequence) -> dict:
    """Percent recognized of the clips of each person, mean over the results of a model."""
    shares: dict = {}
    for result in results:
        hits = hits_of(result)
        subjects = np.array([subject_of(clip) or 0 for clip, _ in result.clips])
        for subject in set(subjects.tolist()) - {0}:
            shares.setdefault(subject, []).append(100 * hits[subjects == subject].mean())
    return {subject: statistics.mean(values) for subject, values in sorted(shares.items())}


def interval(values: Sequence[float]) -> tuple:
    """95 % interval of the mean of a few values, of Student's t distribution."""
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def bootstrap(values: Sequence[float], resamples: int = 10_000) -> tuple:
    """95 % percentile interval of the mean when its values are drawn again, seed 0."""
    values = np.asarray(values)
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def wilson(hits: int, total: int) -> tuple:
    """95 % interval of a share, in percent (Wilson's)."""
    z, share = 1.96, hits / total
    middle, scale = share + z * z / (2 * total), 1 + z * z / total
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return tuple(100 * (middle + sign * half) / scale for sign in (-1, 1))


def mcnemar(one, other) -> float:
    """Two-sided p of McNemar's exact test on what two results make of the same clips."""
    first, second = hits_of(one), hits_of(other)
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def paired(ones: Sequence, others: Sequence) -> list:
    """Results of two models with the same seed and the same test clips."""
    own = {(result.seed, tuple(result.clips)): result for result in others}
    keys = ((result, (result.seed, tuple(result.clips))) for result in ones)
    return [(result, own[key]) for result, key in keys if key in own]


def differences_by_subject(found: Mapping, pairs: Sequence[tuple] = DIFFERENCES) -> dict:
    """Points by which one model is ahead of another, {pair: {subject: points}}.

    A subject whom one of the two was not tested on is left out.
    """
    models = {model for pair in pairs for model in pair if found.get(model)}
    shares = {model: by_subject(found[model]) for model in models}
    return {
        (one, other): {
            s: shares[one][s] - shares[other][s] for s in shares[one] if s in shares[other]
        }
        for one, other in pairs
        if one in shares and other in shares
    }


def subject_rows(found: Mapping, pairs: Sequence[tuple] = DIFFERENCES) -> tuple:
    """Head and rows of the table of differences by subject."""
    differences = differences_by_subject(found, pairs)
    subjects = sorted({subject for own in differences.values() for subject in own})
    head = ['difference', *(f'subject {s}' for s in subjects), 'mean']
    head += ['95 %, t', '95 %, bootstrap', "McNemar's p"]
    rows = []
    for (one, other), own in differences.items():
        points = list(own.values())
        if len(points) < 2:
            continue
        cells = [_signed(own[s]) if s in own else '' for s in subjects]
        cells += [_signed(statistics.mean(points)), _signed(*interval(points))]
        cells.append(_signed(*bootstrap(points)))
        p_values = [mcnemar(*pair) for pair in paired(found[one], found[other])]
        rows.append([f'{one} − {other}', *cells, f'{max(p_values):.2g}' if p_values else ''])
    return head, rows


def _signed(*points):
    return ' … '.join(f'{value:+.1f}' for value in points).replace('-', '−')


def split_rows(found: Mapping, pairs: Sequence[tuple] = REAL) -> tuple:
    """Head and rows of the table of differences by split.

    Args:
        found (dict): From ``results_by_model`` for each name of a split.
        pairs (Sequence[tuple[str]]): Models to compare.
    """
    head = ['difference', *found, 'mean', '95 %, t', "McNemar's p"]
    rows = []
    for one, other in pairs:
        runs = [paired(own[one], own[other]) for own in found.values()]
        if not all(runs):
            continue
        points = [
            statistics.mean(a.accuracies['top1'] - b.accuracies['top1'] for a, b in own)
            for own in runs
        ]
        cells = [
            *map(_signed, points),
            _signed(statistics.mean(points)),
            _signed(*interval(points)),
        ]
        p_values = [max(mcnemar(*pair) for pair in own) for own in runs]
        rows.append([f'{one} − {other}', *cells, ', '.join(f'{p:.2g}' for p in p_values)])
    return head, rows


def schedule_rows(found: Mapping) -> tuple:
    """Head and rows of what models reach with schedules of several lengths.

    Args:
        found (dict): From ``results_by_model`` for each number of epochs.
    """
    rows = []
    for model in next(iter(found.values())):
        results = {
            epochs: own  # fused streams have no loss
            for epochs, by_model in found.items()
            if (own := [result for result in by_model[model] if result.curve])
        }
        if len(results) < 2:
            continue
        seeds = set.intersection(*({r.seed for r in own} for own in results.values()))
        for epochs, own in results.items():
            own = [result for result in own if result.seed in seeds]
            top1 = statistics.mean(result.accuracies['top1'] for result in own)
            loss = statistics.mean(map(final_loss, own))
            names = ', '.join(str(result.seed) for result in own)
            rows.append([model, str(epochs), names, f'{top1:.1f}', f'{loss:.2f}'])
    return ['model', 'epochs', 'seeds', 'top-1', 'loss in the last epoch'], rows


def ensemble_rows(found: Mapping, model: str = 'PAN PA', others: Sequence = FUSED) -> tuple:
    """Head and rows of fused streams beside as many networks of one model, of other seeds."""
    results = found.get(model, [])
    rows = []
    for size in range(2, len(results) + 1):
        groups = list(itertools.combinations(results, size))
        fused = [fuse(group, [1] * size) for group in groups]
        rows.append((f'{model} × {size}', len(groups), fused))
    rows += [(other, len(found[other]), found[other]) for other in others if found.get(other)]
    head = ['networks', 'GMACs', 'params, M', 'ensembles', 'top-1, mean']
    return head, [
        [name, f'{own[0].gmacs:.2f}', f'{own[0].params:.2f}', str(count)]
        + [f'{statistics.mean(result.accuracies["top1"] for result in own):.1f}']
        for name, count, own in rows
    ]


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
