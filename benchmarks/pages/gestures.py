"""Tables of docs/results.md about gestures in color, over three folds without a common scene."""

from collections.abc import Callable

import numpy as np
from mmengine import load

from benchmarks import compared
from benchmarks.evidence import by_unit, opposite_backwards, over_scenes
from benchmarks.markdown import table
from benchmarks.runs import RESULTS

from .tables import found, leads, signed, spread, spreads

ALL, TEN, FOUR = compared.CLASSES_EGOGEST
SEGMENT_HEADS = RESULTS / 'segment_heads.json'
ORDERS = ('forwards', 'reversed', 'shuffled')


def gestures() -> str:
    """Accuracy of each model, and its swipes that become the opposite backwards."""
    rows = [gestures_row(model, runs) for model, runs in found(ALL).items() if runs]
    head = ('model', 'clips', '11 classes', '10 gestures', '95 %, scenes', '4 swipes')
    return table([*head, 'opposite backwards', 'loss'], rows) if rows else 'No run yet.'


def gestures_row(model: str, runs: list) -> list:
    """Cells of a model, from its runs on all clips."""
    of_ten, of_four = found(TEN)[model], found(FOUR)[model]
    all_classes, ten, four = (spreads(own, ['top1'])[0] for own in (runs, of_ten, of_four))
    losses = [run.info['loss'] for run in runs if run.info['loss'] is not None]
    return [
        model,
        f'{len(runs[0].clips)} × {len(runs)}',
        all_classes,
        ten,
        scene_interval(of_ten),
        four,
        opposite_swipes(of_four),
        f'{np.mean(losses):.3f}' if losses else '',
    ]


def scene_interval(runs: list) -> str:
    """Interval of the accuracy over scenes."""
    scenes = by_unit(runs, 'scene')
    return '{:.1f} … {:.1f}'.format(*over_scenes(scenes)[1]) if len(scenes) else ''


def opposite_swipes(runs: list) -> str:
    """Clips taken for the opposite swipe backwards, of all seeds' recognized ones."""
    answers = [
        opposite_backwards(run, compared.OPPOSITES_EGOGEST, compared.LABEL_MAP_EGOGEST)
        for run in runs
        if run.backwards is not None
    ]
    return f'{sum(map(sum, answers))} of {sum(map(len, answers))}'


def gesture_leads() -> str:
    """Differences between models on ten gestures."""
    rows = []
    for one, other in compared.PAIRS_EGOGEST:
        if own := leads().get((TEN, one, other)):
            cells = signed(own.mean), signed(*own.bootstrap), f'{own.mcnemar_p:.2g}'
            rows.append([f'{one} − {other}', *cells])
    head = ['difference', '10 gestures', '95 %, scenes', "McNemar's p"]
    return table(head, rows) if rows else 'No pair of runs yet.'


def segment_heads() -> str:
    """Heads on cached features, with the segments in three orders, over the folds measured."""
    if not SEGMENT_HEADS.is_file():
        return 'Not measured yet.'
    folds = [*load(SEGMENT_HEADS).values()]
    clips = sum(fold['clips'] for fold in folds)
    rows = []
    for name, head in folds[0]['heads'].items():
        right = {
            order: np.sum([fold['heads'][name]['right'][order] for fold in folds], axis=0)
            for order in ORDERS
        }
        cells = (spread(100 * right[order] / clips) for order in ORDERS)
        rows.append([name, f'{head["params"]:,}', *cells])
    return table(['segments joined by', 'params', *ORDERS], rows)


TABLES: dict[str, Callable] = {
    make.__name__: make for make in (gestures, gesture_leads, segment_heads)
}
