#!/usr/bin/env python3
"""Fuse scores written by tools/test.py --dump, as PAN_Full and PAN_En fuse their streams."""

import argparse

from mmengine.fileio import dump

from pan_mm.inference.score_fusion import accuracies, fuse_scores, load_scores
from pan_mm.utils.errors import errors_end_the_program
from pan_mm.utils.files import written_whole


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('scores', nargs='+', help='files of tools/test.py --dump')
    parser.add_argument('--weights', type=float, nargs='+', help='of each file; by default equal')
    parser.add_argument('--out', help='write the fused scores (.pkl), in the form of --dump')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error('--out must end with .pkl or .pickle')
    return args


@errors_end_the_program()
def main():
    args = parse_args()
    fused = fuse_scores(args.scores, args.weights)
    lines = [(path, accuracies(load_scores(path))) for path in args.scores]
    lines.append(('fused', accuracies(fused)))
    if args.out:
        with written_whole(args.out) as part:
            dump(fused, part, file_format='pkl')
    width = max(len(name) for name, _ in lines)
    print(f'{len(fused)} videos')
    print(f'{"":{width}}   top-1   top-5  mean class')
    for name, of in lines:
        print(f'{name:{width}}  {of["top1"]:6.2%}  {of["top5"]:6.2%}  {of["mean1"]:10.2%}')


if __name__ == '__main__':
    main()
