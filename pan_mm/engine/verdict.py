"""A sentence on what a training has learned, and what to do next."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Optional

GOOD = 0.9  # accuracy on training videos, from which the rest is a matter of data
FEW = 20  # training videos of a class
PAIR = 0.75  # accuracy within two classes, below which they count as mixed up


class Fit(NamedTuple):
    """Predictions and counts at the end of a training."""

    classes: list  # names in the order of the labels
    counts: list  # training videos of each class
    train: list  # (label, predicted label) of training videos, prepared as in a test
    val: list  # the same of the validation videos
    loss: float  # mean of the last epoch
    epochs: int
    flips: bool  # whether it has seen mirror images


def accuracy(pairs: Sequence) -> float:
    """Share of the pairs whose label is the predicted one."""
    return sum(label == predicted for label, predicted in pairs) / len(pairs)


def chance(pairs: Sequence) -> float:
    """Accuracy of always naming the most frequent class."""
    return max(Counter(label for label, _ in pairs).values()) / len(pairs)


def mixed_up(fit: Fit) -> Optional[tuple]:
    """The two classes that take each other's training videos most; None if none do.

    They take each other's names, and too few of their videos are right, although the remaining
    classes are learned. Where there are only two, a training that is too short looks the same, and
    mirror images decide.
    """
    table = Counter(fit.train)
    pairs = {}  # mistakes by pair
    for a, b in combinations(range(len(fit.classes)), 2):
        right, wrong = table[a, a] + table[b, b], table[a, b] + table[b, a]
        if table[a, b] and table[b, a] and right < PAIR * (right + wrong):
            pairs[a, b] = wrong
    worst = max(pairs, key=pairs.__getitem__, default=())
    rest = [each for each in fit.train if each[0] not in worst]
    is_learned = accuracy(rest) >= GOOD if rest else fit.flips
    return worst if worst and is_learned else None


def advice(fit: Fit) -> str:
    """One sentence on the first that should change, or that nothing must."""
    right = accuracy(fit.train)
    if pair := mixed_up(fit):
        a, b = (fit.classes[i] for i in pair)
        if fit.flips:
            return (
                f'looks like flipped labels: {a!r} and {b!r} are taken for each other, and the '
                'training shows mirror images; set flip_ratio=0 of Flip and train again'
            )
        return f'{a!r} and {b!r} are taken for each other, even in training; look at their labels'
    if right < GOOD:
        if right < chance(fit.train) + 0.1 and fit.loss > 0.9 * math.log(len(fit.classes)):
            return (
                'nothing learned yet: it guesses; train for several times as long, with --resume '
                f'and epochs={4 * fit.epochs}, and look at the labels if that does not help'
            )
        return f'still learning: train on, with --resume and epochs={2 * fit.epochs}'
    if accuracy(fit.val) >= 0.9 * right:
        return 'fine: it recognizes the validation videos as well'
    few = [f'{c!r} ({n})' for c, n in zip(fit.classes, fit.counts) if n < FEW]
    reason = f'too few videos of {", ".join(few)}: ' if few else ''
    return (
        f'{reason}it knows the training videos by heart; add videos of other people and places, '
        'or make the two lists more alike'
    )


def report(fit: Fit) -> str:
    """Several lines: accuracies, chance, loss, videos of each class, and the advice."""
    lines = [
        f'{name} accuracy {100 * accuracy(pairs):.1f} % of {len(pairs)} videos, '
        f'chance {100 * chance(pairs):.1f} %'
        for name, pairs in (('training', fit.train), ('validation', fit.val))
    ]
    guessing = math.log(len(fit.classes))
    lines.append(f'loss {fit.loss:.2f} in the last epoch, {guessing:.2f} where it guesses')
    width = max(map(len, fit.classes))
    lines.append(f'{"class":{width}}  videos  right in training  in validation')
    for label, (name, count) in enumerate(zip(fit.classes, fit.counts)):
        train, val = (_right(pairs, label) for pairs in (fit.train, fit.val))
        lines.append(f'{name:{width}}  {count:6}  {train:>17}  {val:>13}')
    return '\n'.join([*lines, f'Verdict: {advice(fit)}.'])


def _right(pairs, label):
    predicted = [p for given, p in pairs if given == label]
    return f'{predicted.count(label)}/{len(predicted)}'
