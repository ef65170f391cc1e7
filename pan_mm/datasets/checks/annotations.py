"""Checks of annotation files and the data that they list, before time is spent on training."""

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from pan_mm.utils.errors import DataError


@dataclass(frozen=True)
class AnnotationFormat:
    """Layout of the annotation lines of a ``VideoDataset`` or ``RawframeDataset``.

    Args:
        data_prefix (str): Folder that paths are relative to, and must stay in. Without it, a list
            may name any file. Defaults to ''.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        rawframes (bool): Lines are ``folder num_frames label``, not ``video label``.
        with_offset (bool): Lines of raw frames hold the first frame before ``num_frames``.
        multi_class (bool): Lines may hold any number of labels.
        delimiter (str): Separator of the fields of a line of videos. Defaults to a space.
        labeled (bool): Each line must have a label, except for ``multi_class``. Defaults to True;
            lists whose scores are only dumped need none.
        frame_names (tuple[str, int], optional): ``filename_tmpl`` and ``start_index`` of raw
            frames, which must be there. Not checked by default.
    """

    data_prefix: str = ''
    num_classes: Optional[int] = None
    rawframes: bool = False
    with_offset: bool = False
    multi_class: bool = False
    delimiter: str = ' '
    labeled: bool = True
    frame_names: Optional[tuple] = None

    @property
    def columns(self) -> str:
        """Fields of a line, as errors show them."""
        if not self.rawframes:
            return '"video label"'
        return f'"folder {"first_frame " if self.with_offset else ""}num_frames label"'

    def fields(self, line: str) -> list:
        """Split a line as MMAction2 does."""
        return line.split() if self.rawframes else line.strip().split(self.delimiter)

    def problems(self, line: str) -> Iterator[str]:
        """Find the problems of a line and of the video that it names."""
        fields = self.fields(line)
        if not fields or not fields[0]:
            yield 'empty line, remove it'
            return
        num_counts = 0
        if self.rawframes:
            num_counts = 2 if self.with_offset else 1
        numbers, labels = fields[1:], fields[1 + num_counts :]
        if len(labels) > 1 and not self.multi_class:
            advice = 'RawframeDataset splits at any white space, so no path may have any'
            if not self.rawframes:
                advice = 'a path that contains the delimiter needs another one'
            yield f'has {len(fields)} fields, expected {self.columns}; {advice}'
        elif not all(re.fullmatch(r'\s*[-+]?\d+\s*', number) for number in numbers):
            yield f'expected {self.columns} with whole numbers, got "{" ".join(fields)}"'
        elif self.rawframes and (len(numbers) < num_counts or int(numbers[num_counts - 1]) < 1):
            yield f'expected {self.columns} with at least one frame, got "{" ".join(fields)}"'
        else:
            counts = [int(number) for number in numbers[:num_counts]]
            yield from self._check_labels([int(label) for label in labels])
            yield from self._check_path(fields[0], counts)

    def _check_labels(self, labels) -> Iterator[str]:
        if self.labeled and not labels and not self.multi_class:
            yield f'has no label, expected {self.columns}'
        for label in labels:
            if self.num_classes is not None and not 0 <= label < self.num_classes:
                bounds = f'0 … {self.num_classes - 1} (num_classes={self.num_classes})'
                yield f'label {label} is outside {bounds}'

    def _check_path(self, name, counts) -> Iterator[str]:
        path = os.path.join(self.data_prefix, name)
        if re.match(r'[\w.+-]+://', path):
            return  # remote storage, which MMEngine recognizes by the start of the whole path
        if self.data_prefix and _leaves(name, self.data_prefix):
            yield (
                f'{path}: lies outside the data root {self.data_prefix}; move it there, or, where '
                "the list may name any file, set data_root='' and an empty data_prefix"
            )
        elif self.rawframes:
            yield from self._check_folder(path, counts)
        elif not os.path.isfile(path):
            yield f'{path}: {"not a regular file" if os.path.exists(path) else "no such video"}'
        elif not os.path.getsize(path):
            yield f'{path}: empty file'

    def _check_folder(self, folder, counts) -> Iterator[str]:
        if not os.path.isdir(folder):
            yield f'{folder}: no such folder of frames'
        elif self.frame_names is not None:
            template, start_index = self.frame_names
            first, there = start_index + sum(counts[:-1]), set(os.listdir(folder))
            names = [template.format(first + i) for i in range(counts[-1])]
            missing = [name for name in names if name not in there]
            if missing:
                yield (
                    f'{folder}: {len(missing)} of {len(names)} frames are missing, such as '
                    f'{missing[0]} (it holds {len(there)} files); correct the list, filename_tmpl '
                    'or start_index, or extract the frames again'
                )


def check_annotations(ann_file: str, data_prefix: str = '', **layout) -> list:
    """Find the problems of an annotation file.

    Args:
        ann_file (str): The annotation file.
        data_prefix (str): Folder that its paths are relative to. Defaults to ''.
        **layout: Other fields of :class:`AnnotationFormat`.

    Returns:
        list[str]: A message per problem, with the file and line; empty if all is well.

    Raises:
        DataError: If it is not in UTF-8.
    """
    return check_file(ann_file, AnnotationFormat(data_prefix, **layout))


def check_file(ann_file: str, form: AnnotationFormat) -> list:
    """Find the problems of an annotation file, as :func:`check_annotations` does.

    Raises:
        DataError: If it is not in UTF-8.
    """
    if not os.path.isfile(ann_file):
        return [f'{ann_file}: no such annotation file; set ann_file and data_root']
    with open(ann_file, 'rb') as file:
        if file.read(3) == codecs.BOM_UTF8:  # MMEngine reads it as part of the first name
            return [f'{ann_file}: begins with a byte-order mark; save it as UTF-8 without one']
    lines = read_lines(ann_file)
    if not lines:
        return [f'{ann_file}: empty, it needs a line for each video']
    return [
        f'{ann_file}:{number}: {problem}'
        for number, line in enumerate(lines, 1)
        for problem in form.problems(line)
    ]


def read_lines(path: Union[str, Path]) -> list:
    """Read a text file as MMEngine's ``list_from_file`` does: lines end only at line feeds.

    Unlike MMEngine, it leaves out a byte-order mark, which some editors put first.

    Raises:
        DataError: If it is not in UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').split('\n')
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not a text file in UTF-8') from error
    return lines if lines[-1] else lines[:-1]


def _leaves(path: str, root: str) -> bool:
    """Tell if ``path``, relative to ``root``, lies outside it; links are not followed."""
    if not os.path.isabs(path) and '..' not in path:
        return False
    return not Path(os.path.abspath(os.path.join(root, path))).is_relative_to(os.path.abspath(root))
