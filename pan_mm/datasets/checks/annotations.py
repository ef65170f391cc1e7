"""Checks of annotation files and the data that they list, before time is spent on training."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from pan_mm.utils.errors import DataError


def check_annotations(
    ann_file: str,
    data_prefix: str = '',
    num_classes: Optional[int] = None,
    rawframes: bool = False,
    with_offset: bool = False,
    multi_class: bool = False,
    delimiter: Optional[str] = None,
    labeled: bool = True,
    frame_names: Optional[tuple] = None,
) -> list:
    """Find what is wrong with an annotation file of ``VideoDataset`` or ``RawframeDataset``.

    Args:
        ann_file (str): The annotation file.
        data_prefix (str): Folder that its paths are relative to. Defaults to ''.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        rawframes (bool): Lines are ``folder num_frames label``, not ``video label``.
        with_offset (bool): Lines of raw frames hold the first frame before ``num_frames``.
        multi_class (bool): Lines may hold several labels.
        delimiter (str, optional): What separates the fields of a line of videos.
            Defaults to a space.
        labeled (bool): Each line must have a label, except for ``multi_class``. Defaults to True;
            lists whose scores are only dumped need none.
        frame_names (tuple[str, int], optional): ``filename_tmpl`` and ``start_index`` of raw
            frames, of which the first and the last of each folder must be there.

    A path that leads out of ``data_prefix``, by ``..`` or as an absolute path, is a problem;
    without a ``data_prefix`` the list may name any file.

    Returns:
        list[str]: A message per problem, with the file and line; empty if all is well.
    """
    if not os.path.isfile(ann_file):
        return [f'{ann_file}: no such annotation file; set ann_file and data_root']
    try:
        lines = read_lines(ann_file)
    except DataError as error:
        return [str(error)]
    if not lines:
        return [f'{ann_file}: empty, it needs a line for each video']
    with open(ann_file, 'rb') as file:
        if file.read(3) == codecs.BOM_UTF8:  # MMEngine reads it as part of the first name
            return [f'{ann_file}: begins with a byte-order mark; save it as UTF-8 without one']
    problems = []
    for number, line in enumerate(lines, 1):
        fields = line.split() if rawframes else line.strip().split(delimiter or ' ')
        for problem in _check_line(
            fields,
            data_prefix,
            num_classes,
            rawframes,
            with_offset,
            multi_class,
            labeled,
            frame_names,
        ):
            problems.append(f'{ann_file}:{number}: {problem}')
    return problems


def read_lines(path: Union[str, Path]) -> list:
    """Lines of a text file, as MMEngine's ``list_from_file`` takes them apart: only at line feeds.

    Unlike MMEngine, it leaves out a byte-order mark, which some editors put first.

    Raises:
        DataError: If it is not in UTF-8.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not a text file in UTF-8') from error
    lines = text.split('\n')
    return lines if lines[-1] else lines[:-1]


def _check_line(
    fields, data_prefix, num_classes, rawframes, with_offset, multi_class, labeled, frame_names
) -> Iterator[str]:
    if not fields or not fields[0]:
        yield 'empty line, remove it'
        return
    counts = fields[1 : 1 + rawframes + (rawframes and with_offset)]
    labels = fields[1 + len(counts) :]
    form = ' '.join(
        ['folder', *(['first_frame'] if with_offset else []), 'num_frames']
        if rawframes
        else ['video']
    )
    if len(labels) > 1 and not multi_class:
        yield (
            f'has {len(fields)} fields, expected "{form} label"; a path with spaces needs another '
            'delimiter'
        )
        return
    try:
        counts, labels = [int(n) for n in counts], [int(n) for n in labels]
    except ValueError:
        yield f'expected "{form} label" with whole numbers, got "{" ".join(fields)}"'
        return
    if rawframes and (len(counts) < 1 + with_offset or counts[-1] < 1):
        yield f'expected "{form} label" with at least one frame, got "{" ".join(fields)}"'
        return
    if labeled and not labels and not multi_class:
        yield f'has no label, expected "{form} label"'
    for label in labels:
        if num_classes is not None and not 0 <= label < num_classes:
            yield f'label {label} is outside 0 … {num_classes - 1} (num_classes={num_classes})'
    path = os.path.join(data_prefix, fields[0])
    if re.match(r'[\w.+-]+://', path):
        return  # remote storage, which MMEngine recognizes by the start of the whole path
    if data_prefix and _leaves(fields[0], data_prefix):
        yield (
            f'{path}: lies outside the data root {data_prefix}; move it there, or, where the list '
            "may name any file, set data_root='' and an empty data_prefix"
        )
    elif rawframes:
        yield from _check_frames(path, counts, frame_names)
    elif not os.path.isfile(path):
        yield f'{path}: {"not a regular file" if os.path.exists(path) else "no such video"}'
    elif not os.path.getsize(path):
        yield f'{path}: empty file'


def _check_frames(folder, counts, frame_names) -> Iterator[str]:
    if not os.path.isdir(folder):
        yield f'{folder}: no such folder of frames'
    elif frame_names is not None:
        template, start_index = frame_names
        first = start_index + sum(counts[:-1])
        frames = [os.path.join(folder, template.format(first + i)) for i in (0, counts[-1] - 1)]
        missing = [frame for frame in frames if not os.path.isfile(frame)]
        if missing:
            yield f'{missing[0]}: no such frame; correct the list, filename_tmpl or start_index'


def _leaves(path: str, root: str) -> bool:
    """Whether ``path``, relative to ``root``, lies outside it; links are not followed."""
    if not os.path.isabs(path) and '..' not in path:
        return False
    root = os.path.abspath(root)
    try:
        return os.path.commonpath([root, os.path.abspath(os.path.join(root, path))]) != root
    except ValueError:  # on another Windows drive
        return True
