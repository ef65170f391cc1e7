#!/usr/bin/env python3
"""Check that a prepared dataset is what a config takes it for, before a long training.

Files, folders and frames are there, labels are in range, no video is both in training and
validation; with --decode, every video can be read. Prints how many videos and classes there are and
each problem, and exits with 1 if there is one.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from pan_mm.config.find import config_path
from pan_mm.datasets.checks import (
    AnnotationList,
    check_decoding,
    check_list,
    class_of,
    has_list,
    place_of,
    read_lines,
)
from pan_mm.datasets.file_lists import write_lines
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
        '--write-clean',
        metavar='LIST',
        type=Path,
        help='write the list of a split without its bad lines and what --decode cannot read',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE in the config'
    )
    args = parser.parse_args()
    if args.write_clean and len(args.splits or ()) != 1:
        parser.error('--write-clean needs one split, such as --splits train')
    return args


def open_dataset(cfg):
    """Read the annotations of a dataset; MotionShapes, which writes its own list, is rendered."""
    if not issubclass(class_of(cfg), (VideoDataset, RawframeDataset)):
        raise DataError(f'{cfg["type"]} has no annotation list; check the datasets inside it')
    return DATASETS.build(dict(cfg, pipeline=[], test_mode=True))


def infos(dataset):
    """List the information of a dataset on each video."""
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def summarize(dataset):
    """Count the videos and their spread over the classes, in one line."""
    counts = Counter()
    for info in infos(dataset):
        label = np.asarray(info['label'])
        # with several labels, a vector of zeros and ones
        counts.update(label.nonzero()[0].tolist() if dataset.multi_class else [label.item()])
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)
    return f'{len(dataset)} videos of {len(counts)} classes, {least} to {most} of each'


def check_split(cfg, split, args):
    """Print a summary of a split; return its videos and problems."""
    dataset_cfg = cfg[f'{split}_dataloader'].dataset
    problems = []
    if has_list(dataset_cfg):
        problems = check_list(dataset_cfg, num_classes_of(cfg))
    if problems:  # the named files cannot be looked at
        return set(), problems
    dataset = open_dataset(dataset_cfg)
    print(f'{split}: {summarize(dataset)}')
    if args.decode:
        problems += filter(None, decode(dataset, dataset_cfg, args.workers))
    return {place_of(info) for info in infos(dataset)}, problems


def num_classes_of(cfg):
    return cfg.model.get('cls_head', {}).get('num_classes')


def decode(dataset, dataset_cfg, workers):
    """Yield for each video of a dataset its fault, or None."""
    return track(check_decoding(infos(dataset), dataset_cfg.pipeline, workers), len(dataset))


def write_clean(cfg, split, args):
    """Write the sound lines of a list."""
    dataset_cfg = cfg[f'{split}_dataloader'].dataset
    if not has_list(dataset_cfg):
        raise DataError(f'{dataset_cfg.type} has no list to clean')
    annotations = AnnotationList(dataset_cfg, num_classes_of(cfg))
    lines = read_lines(annotations.path)
    kept = [line for line in lines if not any(annotations.problems_of(line))]
    if args.decode and kept:
        write_lines(args.write_clean, kept)
        dataset = open_dataset(dict(dataset_cfg, ann_file=str(args.write_clean.resolve())))
        faults = decode(dataset, dataset_cfg, args.workers)
        kept = [line for line, fault in zip(kept, faults) if fault is None]
    if not kept:
        raise DataError(f'{annotations.path}: no line of it is sound')
    write_lines(args.write_clean, kept)
    echo(f'{args.write_clean}: {len(kept)} of {len(lines)} lines', 'green')


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
        if not cfg.get(f'{split}_dataloader'):
            raise DataError(
                f'{args.config} has no {split}_dataloader; leave {split} out of --splits'
            )
        videos[split], problems = check_split(cfg, split, args)
        for problem in problems:
            echo(f'{split}: {problem}', 'red')
        found += len(problems)
    for split in set(splits) - {'train'}:
        shared = sorted(videos.get('train', set()) & videos[split])
        if shared:
            echo(f'train, {split}: {len(shared)} videos are in both, such as {shared[0]}', 'red')
            found += 1
    if args.write_clean:
        write_clean(cfg, splits[0], args)
    elif found:
        sys.exit(f'{found} problem(s) found; --write-clean LIST writes a list without bad lines')
    else:
        echo('No problem found', 'green')


if __name__ == '__main__':
    main()
