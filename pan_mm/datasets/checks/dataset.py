"""Checks of a dataset on the disk against its config, before a long training."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from typing import Optional

import numpy as np
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS, TRANSFORMS

from pan_mm.config.pipelines import kind_of
from pan_mm.utils.errors import DataError

from .annotations import AnnotationFormat, check_file


def _class_of(cfg: dict) -> type:
    return DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']


def has_list(cfg: dict) -> bool:
    """Test if a config names a dataset whose annotation list can be checked."""
    return _class_of(cfg) in (VideoDataset, RawframeDataset)


def list_of(cfg: dict) -> str:
    """Build the path of a dataset's annotation list."""
    return os.path.join(cfg.get('data_root') or '', cfg.get('ann_file') or '')


def format_of(cfg: dict, num_classes: Optional[int] = None, labeled: bool = True):
    """Describe the lines of a dataset's annotation list.

    Args:
        cfg (dict): Config of the dataset.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        labeled (bool): Each line needs a label. Defaults to True.

    Returns:
        AnnotationFormat: What its config says of them.
    """
    rawframes = _class_of(cfg) is RawframeDataset
    prefix = dict(cfg.get('data_prefix') or {}).get('img' if rawframes else 'video') or ''
    frame_names = None
    if rawframes and cfg.get('modality', 'RGB') == 'RGB':
        frame_names = cfg.get('filename_tmpl', 'img_{:05}.jpg'), cfg.get('start_index', 1)
    return AnnotationFormat(
        data_prefix=os.path.join(cfg.get('data_root') or '', prefix),
        num_classes=num_classes,
        rawframes=rawframes,
        with_offset=cfg.get('with_offset', False),
        multi_class=cfg.get('multi_class', False),
        delimiter=cfg.get('delimiter', ' '),
        labeled=labeled,
        frame_names=frame_names,
    )


def check_list(cfg: dict, num_classes: Optional[int] = None, labeled: bool = True) -> list:
    """Find the problems of the list of a ``VideoDataset`` or ``RawframeDataset``.

    Args:
        cfg (dict): Config of the dataset.
        num_classes (int, optional): As for :func:`format_of`.
        labeled (bool): As for :func:`format_of`.

    Returns:
        list[str]: A message per problem, with the file and line; empty if all is well.
    """
    for key in ('ann_file', 'delimiter'):
        if not isinstance(cfg.get(key, ' '), str):
            return [
                f'{key}={cfg[key]!r} must be a text; on a command line a comma makes a list, so '
                'set it in the config'
            ]
    return check_file(list_of(cfg), format_of(cfg, num_classes, labeled))


def open_dataset(cfg: dict):
    """Read the annotations of a ``VideoDataset`` or ``RawframeDataset``, or of a kind of these.

    MotionShapes, which writes its own list, is rendered if it is not there.

    Raises:
        DataError: If the dataset has another type.
    """
    cls = _class_of(cfg)
    if not (isinstance(cls, type) and issubclass(cls, (VideoDataset, RawframeDataset))):
        raise DataError(f'{cfg["type"]} has no annotation list; check the datasets inside it')
    return DATASETS.build(dict(cfg, pipeline=[], test_mode=True))


def infos(dataset) -> Iterator[dict]:
    """Yield the information of a dataset on each video."""
    return (dataset.get_data_info(i) for i in range(len(dataset)))


def place_of(info: dict) -> str:
    """Name the file of a video, or the folder of its frames."""
    return info.get('frame_dir') or info['filename']


def labels_of(dataset) -> Iterator[int]:
    """Yield the labels of all videos."""
    for info in infos(dataset):
        label = np.asarray(info['label'])
        # with several labels, a vector of zeros and ones
        yield from label.nonzero()[0].tolist() if dataset.multi_class else [label.item()]


def check_decoding(
    videos: Iterable[dict], pipeline: Sequence, workers: int = 4, min_frames: int = 1
) -> Iterator[Optional[str]]:
    """Decode eight frames of each video, the first and last included.

    Args:
        videos (Iterable[dict]): As :func:`infos` gives them.
        pipeline (Sequence[dict]): A pipeline; only its transforms that open and decode are used.
        workers (int): Threads. Defaults to 4.
        min_frames (int): Frames that each must have. Defaults to 1.

    Yields:
        str | None: For each video, why it cannot be decoded, or None.

    Raises:
        DataError: If the pipeline does not decode.
    """
    steps = [TRANSFORMS.build(t) for t in pipeline if kind_of(t) in ('open', 'decode')]
    if not steps:
        raise DataError('the pipeline has no transform that decodes (…Init, …Decode)')

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


def summarize(dataset) -> str:
    """Count the videos and their spread over the classes, in one line."""
    counts = Counter(labels_of(dataset))
    line = f'{len(dataset)} videos of {len(counts)} classes'
    if counts:
        line += f', {min(counts.values())} to {max(counts.values())} of each'
    classes = dataset.metainfo.get('classes')
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        absent = [name for i, name in enumerate(classes) if i not in counts]
        if absent:
            line += f'; none of {len(absent)} classes, such as {", ".join(map(repr, absent[:3]))}'
    return line
