#!/usr/bin/env python3
"""Print the accuracy of each class and its confusions, of scores that tools/test.py --dump wrote.

For videos with several labels, it is the average precision of each class.
"""

import math

from pan_mm.datasets.file_lists import read_label_map
from pan_mm.inference.scores import load_scores, per_class, scores_and_labels
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.terminal import print_table, tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'scores.pkl --label-map label_map.txt')
    parser.add_argument('scores', help='file of tools/test.py --dump')
    parser.add_argument('--label-map', help='class names, one a line; by default their numbers')
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    scores, labels = scores_and_labels(load_scores(args.scores))
    numbers = map(str, range(scores.shape[1]))
    names = read_label_map(args.label_map) if args.label_map else list(numbers)
    results = per_class(scores, labels, names)
    several = labels.ndim == 2
    head = ('class', 'videos', 'average precision' if several else 'accuracy')
    rows = [
        (result.name, str(result.videos), shown(result.value))
        + (() if several else (shown(result.precision), taken_for(result)))
        for result in sorted(results, key=lambda result: result.value)
    ]
    print_table(rows, head if several else (*head, 'precision', 'taken for'))


def shown(percent):
    return '–' if math.isnan(percent) else f'{percent:.1f}%'


def taken_for(result):
    return ', '.join(f'{name} ({count})' for name, count in result.mistaken[:3])


if __name__ == '__main__':
    main()
