"""Annotation lists for ``VideoDataset`` and ``RawframeDataset``, made from what is on the disk."""

import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

from pan_mm.utils.errors import DataError

from .checks.annotations import read_lines
from .container import VIDEO_SUFFIXES

FRAME_SUFFIXES = ('.jpg', '.jpeg', '.png')
SPLITS = ('train', 'val')

# The label files of the datasets that TwentyBN published, named as in MMAction2's layout.
OFFICIAL_FILES = dict(
    sthv1=dict(
        train='something-something-v1-train.csv', val='something-something-v1-validation.csv'
    ),
    sthv2=dict(
        train='something-something-v2-train.json', val='something-something-v2-validation.json'
    ),
    jester=dict(train='jester-v1-train.csv', val='jester-v1-validation.csv'),
)


class FrameNames(NamedTuple):
    """How the frames in a folder are called, as ``RawframeDataset`` takes it."""

    filename_tmpl: str
    start_index: int
    num_frames: int


class Video(NamedTuple):
    """A line of an annotation list."""

    path: str
    label: int
    num_frames: Optional[int] = None  # of a folder of frames; None for a video file

    def __str__(self) -> str:
        return ' '.join(
            str(field) for field in (self.path, self.num_frames, self.label) if field is not None
        )


def read_label_map(path: Union[str, Path]) -> list:
    """Class names of a ``label_map.txt``, one per line, in the order of the labels.

    Raises:
        DataError: If the file is missing or empty, has an empty line between names or a name twice.
    """
    if not os.path.isfile(path):
        raise DataError(f'{path}: no such label map; it needs a class name per line')
    names = [line.strip() for line in read_lines(path)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DataError(f'{path}: empty; a label map has a class name per line')
    for number, name in enumerate(names, 1):
        if not name:
            raise DataError(f'{path}:{number}: empty line, each line must name a class')
        if names.index(name) != number - 1:
            raise DataError(f'{path}:{number}: class {name!r} is listed twice')
    return names


def read_official_labels(path: str) -> dict:
    """Class name of each video from a label file that TwentyBN published.

    Something-Something V1 and Jester come as lines ``id;class``, Something-Something V2 as a JSON
    list of objects with ``id`` and ``template``.

    Returns:
        dict[str, str]: Video id to class name.

    Raises:
        DataError: If the file is missing, or no such label file (as the unlabeled test split).
    """
    if not os.path.isfile(path):
        raise DataError(f'{path}: no such label file; put the official one there')
    lines = read_lines(path)
    if path.endswith('.json'):
        try:
            items = json.loads('\n'.join(lines))
            return {str(i['id']): re.sub(r'[\[\]]', '', i['template']) for i in items}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f'{path}: expected a JSON list of objects with "id" and "template"; is it the '
                'test split, or labels.json?'
            ) from error
    labels = {}
    for number, line in enumerate(filter(str.strip, lines), 1):
        video, separator, name = line.strip().partition(';')
        if not separator:
            raise DataError(f'{path}:{number}: expected "id;class", got {line!r}')
        labels[video] = name
    return labels


def list_official(
    dataset: str, split: str, data_root: str, classes: Sequence, rawframes: bool
) -> tuple:
    """The videos of a split of Something-Something or Jester.

    Args:
        dataset (str): 'sthv1', 'sthv2' or 'jester'.
        split (str): 'train' or 'val'.
        data_root (str): Holds ``annotations`` and ``rawframes`` or ``videos``.
        classes (Sequence[str]): Class names in the order of the labels.
        rawframes (bool): List folders of frames, not video files.

    Returns:
        tuple[list[Video], list[str]]: The videos and the ids of those not on the disk.

    Raises:
        DataError: If the label file or the folder is missing, or ``classes`` lacks a class.
    """
    labels = read_official_labels(
        os.path.join(data_root, 'annotations', OFFICIAL_FILES[dataset][split])
    )
    unknown = sorted(set(labels.values()) - set(classes))
    if unknown:
        raise DataError(
            f'{OFFICIAL_FILES[dataset][split]} has classes that the label map has not: '
            f'{", ".join(map(repr, unknown[:5]))}; are both of {dataset}?'
        )
    index = {name: i for i, name in enumerate(classes)}
    folder = Path(data_root, 'rawframes' if rawframes else 'videos')
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder; put the data there or link to it')
    on_disk = {Path(entry).stem: entry for entry in os.listdir(folder)}
    videos, missing = [], []
    for video, name in labels.items():
        num_frames = count_frames(folder / video) if rawframes and video in on_disk else None
        if video not in on_disk or num_frames == 0:
            missing.append(video)
        else:
            videos.append(Video(on_disk[video], index[name], num_frames))
    return videos, missing


def count_frames(folder: Path) -> int:
    """Number of images in a folder."""
    return len(_images(folder))


def _images(folder):
    names = os.listdir(folder)
    return [n for n in names if n.lower().endswith(FRAME_SUFFIXES) and n[0] != '.']


def list_folder(root: str) -> tuple:
    """The videos of a folder per class.

    Videos are files, or folders of frames.

    Returns:
        tuple[list[str], list[list[Video]]]: The class names in alphabetical order, and the videos
        of each, with paths relative to ``root``.

    Raises:
        DataError: If there is no folder, a class without videos, a path with spaces, both files
            and folders of frames, or folders whose frames are called in different ways.
    """
    if not os.path.isdir(root):
        raise DataError(f'{root}: no such folder; it must hold a folder of videos per class')
    folders = [folder for folder in _visible(Path(root)) if folder.is_dir()]
    if not folders:
        raise DataError(f'{root}: no folders in it; it must hold a folder of videos per class')
    videos, called = [], {}
    for label, folder in enumerate(folders):
        found = []
        for entry in _visible(folder):
            path = entry.relative_to(root).as_posix()
            if entry.is_dir() and count_frames(entry):
                names = frame_names(entry)
                called.setdefault(names[:2], entry)
                found.append(Video(path, label, names.num_frames))
            elif entry.suffix.lower() in VIDEO_SUFFIXES:
                found.append(Video(path, label))
        if not found:
            raise DataError(
                f'{folder}: neither videos ({" ".join(VIDEO_SUFFIXES)}) nor folders of frames in '
                'it; fill or remove it'
            )
        videos.append(found)
    flat = [video for found in videos for video in found]
    if len({video.num_frames is None for video in flat}) > 1:
        raise DataError(f'{root}: holds both videos and folders of frames; keep one kind')
    if len(called) > 1:
        ways = ', '.join(
            f'{template} from {first} on in {entry}'
            for (template, first), entry in list(called.items())[:3]
        )
        raise DataError(f'{root}: frames must be called the same in all folders, found {ways}')
    spaced = [video.path for video in flat if len(video.path.split()) > 1]
    if spaced:
        raise DataError(
            f'{root}: spaces separate the fields of a list, so rename {spaced[0]!r}'
            + (f' and {len(spaced) - 1} more' if len(spaced) > 1 else '')
        )
    return [folder.name for folder in folders], videos


def _visible(folder: Path) -> list:
    """What is in a folder, in order, without hidden files (macOS puts some beside each video)."""
    return sorted(entry for entry in folder.iterdir() if entry.name[0] != '.')


def split_videos(videos: list, val_ratio: float, seed: int = 0) -> dict:
    """Split the videos of each class at random.

    Args:
        videos (list[list[Video]]): The videos of each class.
        val_ratio (float): Share for validation; of each class at least one video goes there and at
            least one stays.
        seed (int): Seed of the random choice. Defaults to 0.

    Returns:
        dict[str, list[Video]]: 'train' and 'val'.

    Raises:
        DataError: If a class has a single video.
    """
    chooser = random.Random(seed)
    split = dict(train=[], val=[])
    for found in videos:
        if len(found) < 2:
            raise DataError(
                f'{found[0].path} is the only video of its class; a class needs one for training '
                'and one for validation'
            )
        found = chooser.sample(found, len(found))
        num_val = min(max(round(len(found) * val_ratio), 1), len(found) - 1)
        split['val'] += sorted(found[:num_val])
        split['train'] += sorted(found[num_val:])
    return split


def list_own_videos(folder: str, val_ratio: float = 0.2, seed: int = 0) -> tuple:
    """The videos of a folder per class, split for training and validation.

    Args:
        folder (str): As :func:`list_folder` takes it, which is split at random; or with ``train``
            and ``val``, each of such folders, whose split is kept.
        val_ratio (float): As of :func:`split_videos`. Defaults to 0.2.
        seed (int): As of :func:`split_videos`. Defaults to 0.

    Returns:
        tuple[list[str], dict[str, list[Video]]]: The class names in the order of the labels, and
        the videos of 'train' and 'val', with paths relative to ``folder``.

    Raises:
        DataError: If a list cannot be made, the classes of the splits differ, or there is only one.
    """
    if all(os.path.isdir(os.path.join(folder, split)) for split in SPLITS):
        classes, lists = _given_split(folder)
    else:
        classes, videos = list_folder(folder)
        lists = split_videos(videos, val_ratio, seed)
    if len(classes) < 2:
        raise DataError(f'{folder}: one class only, {classes[0]}; training needs two or more')
    return classes, lists


def _given_split(folder):
    classes, lists = {}, {}
    for split in SPLITS:
        classes[split], videos = list_folder(os.path.join(folder, split))
        lists[split] = [v._replace(path=f'{split}/{v.path}') for found in videos for v in found]
    if classes['train'] != classes['val']:
        differ = sorted(set(classes['train']) ^ set(classes['val']))
        raise DataError(
            f'{folder}: train and val must hold the same classes, but {", ".join(differ[:5])} is '
            'in one only'
        )
    if len({video.num_frames is None for videos in lists.values() for video in videos}) > 1:
        raise DataError(f'{folder}: holds both videos and folders of frames; keep one kind')
    return classes['train'], lists


def frame_names(folder: Path) -> FrameNames:
    """How the frames in a folder are called; with optical flow next to them, ``img_*``.

    Raises:
        DataError: If they are not numbered, or not without gaps, or of several kinds.
    """
    kinds = {}
    for name in _images(folder):
        match = re.fullmatch(r'(.*?)(\d+)(\.\w+)', name)
        if match is None:
            raise DataError(f'{folder}: frames must be numbered, as img_00001.jpg; found {name}')
        prefix, number, suffix = match.groups()
        kinds.setdefault((prefix, suffix), []).append(number)
    chosen = [kind for kind in kinds if kind[0] == 'img_'] if len(kinds) > 1 else list(kinds)
    if len(chosen) != 1:
        found = ', '.join(f'{prefix}…{suffix}' for prefix, suffix in sorted(kinds))
        raise DataError(f'{folder}: holds several kinds of frames, {found}; keep one')
    ((prefix, suffix),) = chosen
    numbers = sorted(map(int, kinds[chosen[0]]))
    first, last = numbers[0], numbers[-1]
    if last - first + 1 != len(numbers):
        raise DataError(
            f'{folder}: {len(numbers)} frames are numbered {first} to {last}; number them without '
            'gaps, or extract them again'
        )
    digits = min(map(len, kinds[chosen[0]]))
    return FrameNames(f'{prefix}{{:0{digits}}}{suffix}', first, len(numbers))


def write_lines(path: str, lines: Sequence) -> None:
    """Write a text file, whole or not at all."""
    part = f'{path}.part'
    Path(part).write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    os.replace(part, path)
