#!/usr/bin/env python3
"""Write the annotation lists of Something-Something V1, V2 or Jester from the official labels.

Reads DATA_ROOT/annotations and looks for the videos in DATA_ROOT/rawframes or DATA_ROOT/videos.
Labels follow label_map.txt, which is MMAction2's order.
"""

from pathlib import Path

from pan_mm.datasets.file_lists import SPLITS, list_official, read_label_map, write_lines
from pan_mm.utils.errors import DataError, cli_errors
from pan_mm.utils.terminal import tool_parser


def parse_args():
    parser = tool_parser(__doc__, 'sthv2 --data-root data/sthv2 --skip-missing')
    parser.add_argument('dataset', choices=['sthv1', 'sthv2', 'jester'])
    parser.add_argument('--data-root', help='default: data/DATASET')
    parser.add_argument(
        '--format',
        choices=['rawframes', 'videos'],
        help='default: what was published, videos for sthv2 and rawframes else',
    )
    parser.add_argument(
        '--skip-missing', action='store_true', help='leave out videos that are not on the disk'
    )
    return parser.parse_args()


@cli_errors()
def main():
    args = parse_args()
    data_root = args.data_root or f'data/{args.dataset}'
    kind = args.format or ('videos' if args.dataset == 'sthv2' else 'rawframes')
    classes = read_label_map(Path(__file__).parent / args.dataset / 'label_map.txt')
    lists = {}
    for split in SPLITS:
        videos, missing = list_official(
            args.dataset, split, data_root, classes, rawframes=kind == 'rawframes'
        )
        if missing and not (args.skip_missing and videos):
            raise DataError(
                f'{len(missing)} of {len(missing) + len(videos)} {split} videos are not in '
                f'{data_root}/{kind} or empty, such as {", ".join(missing[:5])}; add them, or '
                'leave them out with --skip-missing'
            )
        lists[f'{data_root}/{args.dataset}_{split}_list_{kind}.txt'] = videos
    for path, videos in lists.items():
        write_lines(path, [video.to_line() for video in videos])
        print(f'{path}: {len(videos)} videos')


if __name__ == '__main__':
    main()
