#!/usr/bin/env python3
"""Fuse scores written by tools/test.py --dump, as PAN_Full and PAN_En fuse their streams."""

from mmengine.fileio import dump

from pan_mm.inference.scores import (
    accuracies,
    fuse_scores,
    load_scores,
    scores_and_labels,
)
from pan_mm.utils.errors import cli_errors
from pan_mm.utils.files import atomic_write
from pan_mm.utils.terminal import print_table, tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'rgb.pkl pa.pkl lite.pkl --weights 1 1 2 --out fused.pkl')
    parser.add_argument('scores', nargs='+', help='files of tools/test.py --dump')
    parser.add_argument('--weights', type=float, nargs='+', help='of each file; by default equal')
    parser.add_argument('--out', help='write the fused scores (.pkl), in the form of --dump')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error('--out must end with .pkl or .pickle')
    return args


@cli_errors()
def main():
    args = parse_args()
    fused = fuse_scores(args.scores, args.weights)
    files = [(path, load_scores(path)) for path in args.scores] + [('fused', fused)]
    rows = [(name, accuracies(*scores_and_labels(samples))) for name, samples in files]
    if args.out:
        with atomic_write(args.out) as part:
            dump(fused, part, file_format='pkl')
    print(f'{len(fused)} videos')
    print_table(
        ((name, *(f'{value:.2f}%' for value in found.values())) for name, found in rows),
        head=('', 'top-1', 'top-5', 'mean class'),
    )


if __name__ == '__main__':
    main()
