#!/usr/bin/env python3
"""Check that a prepared dataset is what a config takes it for, before a long training.

Files and folders are there, frame counts are right, labels are in range and in the order of the
label map, no video is both in training and validation; with --decode, every video can be read.
Prints each problem and exits with 1 if there is one.
"""

import sys

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from pan_mm.config.find import config_path
from pan_mm.datasets.checks.dataset import (
    check_decoding,
    check_frames,
    check_label_order,
    open_dataset,
    summarize,
)
from pan_mm.utils.errors import DataError, cli_errors
from pan_mm.utils.terminal import echo, tool_parser, track


def parse_args():
    parser = tool_parser(
        __doc__, 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv1-rgb.py --decode'
    )
    parser.add_argument('config')
    parser.add_argument('--decode', action='store_true', help='decode frames of every video')
    parser.add_argument('--workers', type=int, default=4, help='threads of --decode')
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=['train', 'val', 'test'],
        help='which to check; by default train, and val or, if there is none, test',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE in the config'
    )
    return parser.parse_args()


def check_split(cfg, split, args):
    """The dataset of a split, or None, and its problems."""
    dataloader = cfg.get(f'{split}_dataloader')
    if not dataloader:
        raise DataError(f'{args.config} has no {split}_dataloader; leave {split} out of --splits')
    dataset_cfg = dataloader.dataset
    num_classes = cfg.model.get('cls_head', {}).get('num_classes')
    dataset, problems = open_dataset(dataset_cfg, num_classes)
    if dataset is None:
        return None, problems
    print(f'{split}: {summarize(dataset)}')
    if hasattr(dataset, 'with_offset'):
        problems += check_frames(dataset)
    problems += check_label_order(dataset)
    if args.decode:
        read = check_decoding(dataset, dataset_cfg.pipeline, args.workers)
        problems += filter(None, track(read, len(dataset)))
    return dataset, problems


@cli_errors()
def main():
    args = parse_args()
    cfg = Config.fromfile(config_path(args.config))
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    splits = args.splits or ['train', 'val' if cfg.get('val_dataloader') else 'test']
    found, videos = 0, {}
    for split in splits:
        dataset, problems = check_split(cfg, split, args)
        videos[split] = {i.get('frame_dir') or i['filename'] for i in dataset or ()}
        for problem in problems:
            echo(f'{split}: {problem}', 'red')
        found += len(problems)
    for split in set(splits) - {'train'}:
        shared = sorted(videos.get('train', set()) & videos[split])
        if shared:
            echo(f'train, {split}: {len(shared)} videos are in both, such as {shared[0]}', 'red')
            found += 1
    if found:
        sys.exit(f'{found} problem(s) found')
    echo('No problem found', 'green')


if __name__ == '__main__':
    main()
