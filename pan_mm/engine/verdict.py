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
    """Predictions and counts at the end of a training.

    Args:
        classes (list[str]): Names in the order of the labels.
        counts (list[int]): Training videos of each class.
        train (list[tuple[int, int]]): Label and predicted label of training videos, perhaps not of
            all, prepared as in a test.
        val (list[tuple[int, int]]): The same of all validation videos; may be empty.
        loss (float): Mean of the last epoch.
        epochs (int): Length of the training.
        flips (bool): Whether it has seen mirror images.
    """

    classes: list
    counts: list
    train: list
    val: list
    loss: float
    epochs: int
    flips: bool


def accuracy(pairs: Sequence) -> float:
    """Share of the pairs whose label is the predicted one; NaN without any."""
    return sum(label == predicted for label, predicted in pairs) / len(pairs) if pairs else math.nan


def chance(pairs: Sequence) -> float:
    """Accuracy of always naming the most frequent class."""
    return max(Counter(label for label, _ in pairs).values()) / len(pairs)


def mixed_up(fit: Fit) -> Optional[tuple]:
    """The two classes that take each other's training videos most; None if none do.

    Two classes are mixed up if most mistakes of both are the other's name, and of their videos too
    few are right, although the remaining classes are learned. With two classes,
    this looks like a training that is too short; mirror images make it likely.
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
    if not fit.val:
        return 'the training videos are learned; a list for validation would tell more'
    if accuracy(fit.val) >= 0.9 * right:
        return 'fine: it recognizes the validation videos as well'
    few = [f'{c!r} ({n})' for c, n in zip(fit.classes, fit.counts) if n < FEW]
    if few:
        return (
            f'too few videos of {", ".join(few)}: it knows them by heart; add videos of other '
            'people and places'
        )
    return (
        'it knows the training videos by heart: add videos of other people and places, or make '
        'the two lists more alike'
    )


def report(fit: Fit) -> str:
    """Several lines: accuracies, chance, loss, videos of each class, and the advice."""
    lines = [
        f'{name} accuracy {100 * accuracy(pairs):.1f} % of {len(pairs)} videos, '
        f'chance {100 * chance(pairs):.1f} %'
        for name, pairs in (('training', fit.train), ('validation', fit.val))
        if pairs
    ]
    guessing = math.log(len(fit.classes))
    lines.append(f'loss {fit.loss:.2f} in the last epoch, {guessing:.2f} where it guesses')
    rows = [(name, n, *_right(fit, i)) for i, (name, n) in enumerate(zip(fit.classes, fit.counts))]
    width = max(len(name) for name, *_ in rows)
    lines.append(f'{"class":{width}}  videos  right in training  in validation')
    lines += [f'{name:{width}}  {n:6}  {train:>17}  {val:>13}' for name, n, train, val in rows]
    return '\n'.join([*lines, f'Verdict: {advice(fit)}.'])


def _right(fit, label):
    for pairs in (fit.train, fit.val):
        own = [each for each in pairs if each[0] == label]
        yield f'{sum(a == b for a, b in own)}/{len(own)}'
