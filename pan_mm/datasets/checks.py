"""Checks of annotation lists and of the videos in them, before time is spent on training."""

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS, TRANSFORMS

from pan_mm.config.pipelines import kind_of
from pan_mm.utils.errors import DataError


def class_of(cfg: dict) -> type:
    """Look up the class of a dataset's config, which may name it."""
    return DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']


def has_list(cfg: dict) -> bool:
    """Test if a config names a dataset whose annotation list can be checked."""
    return class_of(cfg) in (VideoDataset, RawframeDataset)


def read_lines(path: Union[str, Path]) -> list:
    """Read a text file as MMEngine's ``list_from_file`` does, but without a byte-order mark."""
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').split('\n')
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not a text file in UTF-8') from error
    return lines if lines[-1] else lines[:-1]


class AnnotationList:
    """The annotation list of a dataset, and what its config says of its lines.

    Args:
        cfg (dict): Config of a ``VideoDataset`` or ``RawframeDataset``.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        labeled (bool): Each line needs a label, unless it may have several. Defaults to True;
            lists whose scores are only dumped need none.

    Attributes:
        path (str): The file.
    """

    def __init__(self, cfg: dict, num_classes: Optional[int] = None, labeled: bool = True) -> None:
        self._cfg, self._num_classes, self._labeled = cfg, num_classes, labeled
        self._is_frames = class_of(cfg) is RawframeDataset
        self._several = cfg.get('multi_class', False)
        root = cfg.get('data_root') or ''
        prefix = dict(cfg.get('data_prefix') or {}).get('img' if self._is_frames else 'video')
        self._prefix = os.path.join(root, prefix or '')
        self.path = os.path.join(root, cfg.get('ann_file') or '')
        self._columns = ['video']
        if self._is_frames:
            offset = ['first_frame'] if cfg.get('with_offset') else []
            self._columns = ['folder', *offset, 'num_frames']

    def problems(self) -> list:
        """Find faults of the list and of the videos that it names."""
        if not os.path.isfile(self.path):
            return [f'{self.path}: no such annotation file; set ann_file and data_root']
        lines = read_lines(self.path)
        if not lines:
            return [f'{self.path}: empty, it needs a line for each video']
        # MMEngine would read it as part of the first name.
        if Path(self.path).read_bytes().startswith(codecs.BOM_UTF8):
            return [f'{self.path}: begins with a byte-order mark; save it as UTF-8 without one']
        return [
            f'{self.path}:{number}: {problem}'
            for number, line in enumerate(lines, 1)
            for problem in self.problems_of(line)
        ]

    def problems_of(self, line: str) -> Iterator[str]:
        """Find the problems of a line and of the video that it names."""
        delimiter = None if self._is_frames else self._cfg.get('delimiter', ' ')
        name, *fields = line.strip().split(delimiter) or ['']
        if not name:
            yield 'empty line, remove it'
            return
        expected = f'expected "{" ".join(self._columns)} label", got "{line.strip()}"'
        try:
            numbers = [int(field) for field in fields]
        except ValueError:
            yield f'{expected}; where a path has spaces, choose another delimiter, or rename it'
            return
        count = len(self._columns) - 1
        counts, labels = numbers[:count], numbers[count:]
        too_many = len(labels) > 1 and not self._several
        too_few = self._labeled and not labels and not self._several
        if too_many or too_few or len(counts) < count or (counts and counts[-1] < 1):
            yield expected
            return
        for label in labels:
            if self._num_classes is not None and not 0 <= label < self._num_classes:
                bounds = f'0 … {self._num_classes - 1} (num_classes={self._num_classes})'
                yield f'label {label} is outside {bounds}'
        path = os.path.join(self._prefix, name)
        if '://' in self._prefix:
            return  # remote storage
        yield from self._folder_problems(path, counts) if counts else _video_problems(path)

    def _folder_problems(self, folder, counts):
        if not os.path.isdir(folder):
            yield f'{folder}: no such folder of frames'
        elif self._cfg.get('modality', 'RGB') == 'RGB':
            template = self._cfg.get('filename_tmpl', 'img_{:05}.jpg')
            first, there = self._cfg.get('start_index', 1) + sum(counts[:-1]), os.listdir(folder)
            names = [template.format(first + i) for i in range(counts[-1])]
            if missing := sorted(set(names).difference(there)):
                yield (
                    f'{folder}: {len(missing)} of {len(names)} frames are missing, such as '
                    f'{missing[0]} (it holds {len(there)} files); correct the list, filename_tmpl '
                    'or start_index, or extract the frames again'
                )


def _video_problems(path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        yield f'{path}: {"not a regular file" if os.path.exists(path) else "no such video"}'
    elif not os.path.getsize(path):
        yield f'{path}: empty file'


def check_list(cfg: dict, num_classes: Optional[int] = None, labeled: bool = True) -> list:
    """List the problems of an annotation list, each with its place; see :class:`AnnotationList`."""
    for key in ('ann_file', 'delimiter'):
        if not isinstance(cfg.get(key, ' '), str):
            return [
                f'{key}={cfg[key]!r} must be a text; on a command line a comma makes a list, so '
                'set it in the config'
            ]
    return AnnotationList(cfg, num_classes, labeled).problems()


def place_of(info: dict) -> str:
    """Name the file of a video, or the folder of its frames."""
    return info.get('frame_dir') or info['filename']


def check_decoding(
    videos: Iterable[dict], pipeline: Sequence, workers: int = 4, min_frames: int = 1
) -> Iterator[Optional[str]]:
    """Decode eight frames of each video, the first and last included.

    Videos are what ``get_data_info`` of a dataset gives.

    Of the pipeline only the transforms that open and decode are used.

    Yields:
        str | None: For each video, why it cannot be decoded, or None.
    """
    steps = [TRANSFORMS.build(t) for t in pipeline if kind_of(t) in ('open', 'decode')]

    def read(info: dict) -> Optional[str]:
        results, name = dict(info), place_of(info)  # a copy, which holds the frames
        try:
            for step in steps[:-1]:
                results = step.transform(results)
            frames = np.linspace(0, results['total_frames'] - 1, 8).astype(int)
            results['frame_inds'] = np.unique(frames) + results['start_index']
            images = steps[-1].transform(results)['imgs']
        except Exception as error:  # of whatever library decodes
            message = str(error) or type(error).__name__
            return message if name in message else f'{name}: cannot be decoded ({message})'
        if results['total_frames'] < min_frames:
            return f'{name}: a picture, not a video'
        return f'{name}: a frame is not an image' if any(i is None for i in images) else None

    with ThreadPool(workers) as pool:
        yield from pool.imap(read, videos)
