"""The order test: what a recognizer makes of test clips that are played backwards.

    python -m benchmarks.order_test WORK_DIR ...

Tests finished runs, their test clips played backwards and forwards, and keeps the scores. With
pairs of classes that are each other's reversal, it prints how far a model reads their order:

    python -m benchmarks.order_test WORK_DIR --pairs 12:13 23:24
    python -m benchmarks.order_test WORK_DIR --label-map label_map.txt --pairs "sit:stand"
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import numpy as np
from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction

from pan_mm.config.pipelines import kind_of
from pan_mm.datasets.file_lists import read_label_map
from pan_mm.inference.score_fusion import load_scores, scores_and_labels
from pan_mm.utils.errors import DataError

from .records.runs import ReportError, read_logs


def play_backwards(cfg: Config) -> Config:
    """The config with ``ReverseFrames`` before the decoder of its test pipeline.

    Raises:
        ValueError: If the test pipeline has no decoder.
    """
    cfg = copy.deepcopy(cfg)
    pipeline = cfg.test_dataloader.dataset.pipeline
    places = [i for i, transform in enumerate(pipeline) if kind_of(transform) == 'decode']
    if not places:
        raise ValueError('the test pipeline has no decoder for ReverseFrames to precede')
    pipeline.insert(places[0], dict(type='ReverseFrames'))
    return cfg


def read_pairs(texts: Sequence[str], names: Sequence[str] = ()) -> list:
    """Pairs of labels, of 'LABEL:LABEL' or, with the names of the classes, 'NAME:NAME'.

    Raises:
        DataError: If a text is not a pair of two labels or names.
    """
    labels = {name: label for label, name in enumerate(names)}
    pairs = []
    for text in texts:
        parts = [part.strip() for part in text.split(':')]
        found = [labels.get(part, int(part) if part.isdecimal() else None) for part in parts]
        if len(found) != 2 or None in found or found[0] == found[1]:
            unknown = [repr(part) for part, label in zip(parts, found) if label is None]
            what = f'; no class is named {" or ".join(unknown)}' if unknown and names else ''
            raise DataError(
                f'--pairs takes LABEL:LABEL, or names with --label-map; got {text!r}{what}'
            )
        pairs.append(tuple(found))
    return pairs


def run_both_ways(work_dir: Union[str, Path], options: dict) -> None:
    """Test the last checkpoint of a finished run, its clips played backwards, then forwards.

    The scores go to ``backwards.pkl`` and ``forwards.pkl`` in the work_dir, in the form of
    ``tools/test.py --dump``, metrics and logs to where that tool puts them.

    Args:
        work_dir (str | Path): Folder of the run.
        options (dict): Changes of the run's config, such as of the data's place.

    Raises:
        ReportError: If the training did not finish.
    """
    work_dir = Path(work_dir)
    trained, epochs, *_ = read_logs(work_dir)
    # Use the name of the training's config; another name would leave a second copy.
    cfg = Config(trained.to_dict(), filename=str(next(work_dir.glob('*.py'))))
    cfg.merge_from_dict(options)
    cfg.work_dir = str(work_dir)
    cfg.load_from = str(work_dir / f'epoch_{epochs}.pth')
    cfg.resume = False
    evaluator = cfg.test_evaluator
    evaluators = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
    for name, direction in (('backwards', play_backwards(cfg)), ('forwards', cfg)):
        dump = dict(type='DumpResults', out_file_path=str(work_dir / f'{name}.pkl'))
        direction.test_evaluator = [*evaluators, dump]
        RUNNERS.build(direction).test()


def order_accuracies(
    forwards: np.ndarray, backwards: np.ndarray, labels: np.ndarray, pairs: Sequence[tuple]
) -> dict:
    """How far a model reads the order of time.

    Args:
        forwards (np.ndarray): Scores of the clips, shape (N, num_classes).
        backwards (np.ndarray): Scores of the same clips, played backwards.
        labels (np.ndarray): Labels of the clips, int, shape (N,).
        pairs (list[tuple]): Labels of classes of which one, backwards, is the other.

    Returns:
        dict[str, float]: Percent. ``forwards`` and ``backwards``: top-1 of all clips by their own
        labels. For the clips of the pairs, with scores of all classes: ``pairs``, top-1;
        ``as_partner``, backwards and taken for the partner, which is right; ``as_before``,
        backwards and still taken for what they are forwards.
    """
    partner = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    of_pairs = np.isin(labels, list(partner))
    answers, answers_backwards = forwards.argmax(1), backwards.argmax(1)
    partners = np.array([partner.get(int(label), -1) for label in labels])
    shares = dict(
        forwards=answers == labels,
        backwards=answers_backwards == labels,
        pairs=(answers == labels)[of_pairs],
        as_partner=(answers_backwards == partners)[of_pairs],
        as_before=(answers_backwards == labels)[of_pairs],
    )
    return {name: float(100 * hits.mean()) if hits.size else 0.0 for name, hits in shares.items()}


def accuracies_of(work_dir: Union[str, Path], pairs: Sequence[tuple]) -> dict:
    """:func:`order_accuracies` of the scores that :func:`run_both_ways` kept in a work_dir."""
    both = [load_scores(Path(work_dir) / f'{name}.pkl') for name in ('forwards', 'backwards')]
    (forwards, labels), (backwards, _) = map(scores_and_labels, both)
    return order_accuracies(forwards, backwards, labels, pairs)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='+', help='folders of runs, trained to their last epoch')
    parser.add_argument(
        '--pairs', nargs='+', default=[], metavar='A:B', help='classes that are reversals'
    )
    parser.add_argument('--label-map', help='names of the classes, a line each')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes of the runs\' configs, such as "test_dataloader.num_workers=0"',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        pairs = read_pairs(args.pairs, read_label_map(args.label_map) if args.label_map else ())
    except DataError as error:
        sys.exit(f'error: {error}')
    problems = []
    for work_dir in args.work_dirs:
        try:
            run_both_ways(work_dir, args.cfg_options)
            if pairs:
                shares = accuracies_of(work_dir, pairs).items()
                text = ', '.join(f'{name.replace("_", " ")} {share:.1f}' for name, share in shares)
                print(f'{work_dir}: {text} %')
        except (ReportError, DataError) as error:
            problems.append(str(error))
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == '__main__':
    main()
