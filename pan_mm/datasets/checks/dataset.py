"""Checks of a dataset on the disk against its config, before a long training."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Optional

import numpy as np
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS, TRANSFORMS

from pan_mm.config.pipelines import kind_of
from pan_mm.datasets.file_lists import OFFICIAL_FILES, read_official_labels
from pan_mm.utils.errors import DataError

from .annotations import check_annotations


def _class_of(cfg: dict) -> type:
    return DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']


def has_list(cfg: dict) -> bool:
    """Test if a config names a dataset whose annotation list can be checked."""
    return _class_of(cfg) in (VideoDataset, RawframeDataset)


def list_of(cfg: dict) -> str:
    """Build the path of a dataset's annotation list."""
    return os.path.join(cfg.get('data_root') or '', cfg.get('ann_file') or '')


def layout_of(cfg: dict) -> dict:
    """Collect the layout of the lines of a dataset's annotation list from its config.

    Returns:
        dict: Fields of :class:`pan_mm.datasets.checks.annotations.AnnotationFormat`.
    """
    rawframes = _class_of(cfg) is RawframeDataset
    prefix = dict(cfg.get('data_prefix') or {}).get('img' if rawframes else 'video') or ''
    layout = dict(
        data_prefix=os.path.join(cfg.get('data_root') or '', prefix),
        rawframes=rawframes,
        with_offset=cfg.get('with_offset', False),
        multi_class=cfg.get('multi_class', False),
        delimiter=cfg.get('delimiter', ' '),
    )
    if rawframes and cfg.get('modality', 'RGB') == 'RGB':
        layout['frame_names'] = cfg.get('filename_tmpl', 'img_{:05}.jpg'), cfg.get('start_index', 1)
    return layout


def check_list(cfg: dict, num_classes: Optional[int] = None, labeled: bool = True) -> list:
    """Find the problems of the list of a ``VideoDataset`` or ``RawframeDataset``.

    Args:
        cfg (dict): Config of the dataset.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        labeled (bool): Each line needs a label. Defaults to True.

    Returns:
        list[str]: See :func:`pan_mm.datasets.checks.annotations.check_annotations`.
    """
    for key in ('ann_file', 'delimiter'):
        if not isinstance(cfg.get(key, ' '), str):
            return [
                f'{key}={cfg[key]!r} must be a text; on a command line a comma makes a list, so '
                'set it in the config'
            ]
    return check_annotations(
        list_of(cfg), num_classes=num_classes, labeled=labeled, **layout_of(cfg)
    )


def missing_classes(cfgs: Sequence[dict], num_classes: int) -> list:
    """Find the classes that no video of some lists is of.

    Args:
        cfgs (Sequence[dict]): Configs of ``VideoDataset`` or ``RawframeDataset``.
        num_classes (int): Classes of the model.

    Returns:
        list[str]: Their names, or labels where the first dataset's ``metainfo`` does not name them.
    """
    datasets = [open_dataset(dict(cfg, serialize_data=False)) for cfg in cfgs]
    counts = Counter(label for dataset in datasets for label in labels_of(dataset))
    names = dict(enumerate(datasets[0].metainfo.get('classes') or ()))
    return [str(names.get(i, i)) for i in range(num_classes) if i not in counts]


def open_dataset(cfg: dict):
    """Read the annotations of a ``VideoDataset`` or ``RawframeDataset``, or of a kind of these.

    MotionShapes, which writes its own list, is rendered if it is not there.

    Raises:
        DataError: If the config is of another type of dataset.
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


def class_names_on_disk(dataset) -> dict:
    """Find the class names of videos on the disk, whatever the labels say.

    They come from the official label files in ``data_root/annotations`` (Something-Something,
    Jester), or from the folder of a video if that is named after a class.

    Returns:
        dict[int, str]: Index in the dataset to class name.
    """
    paths = [Path(place_of(info)) for info in infos(dataset)]
    files = [
        Path(dataset.data_root or '', 'annotations', file)
        for split in OFFICIAL_FILES.values()
        for file in split.values()
    ]
    official = {
        video: name
        for file in filter(Path.is_file, files)
        for video, name in read_official_labels(str(file)).items()
    }
    if official:
        known = {i: official.get(path.stem) for i, path in enumerate(paths)}
    else:
        by_folder = {_plain(name): name for name in dataset.metainfo['classes']}
        known = {i: by_folder.get(_plain(path.parent.name)) for i, path in enumerate(paths)}
    return {i: name for i, name in known.items() if name is not None}


def _plain(name: str) -> str:
    return re.sub(r'[\W_]+', '', name).lower()


def check_label_order(dataset) -> Iterator[str]:
    """Find labels that follow another order of the classes than the dataset's label map.

    Needs ``metainfo=dict(classes=…)`` in the config of the dataset, and class names that can be
    known of the videos (see :func:`class_names_on_disk`). Several labels of a video have no order.
    """
    classes = dataset.metainfo.get('classes')
    if not isinstance(classes, Sequence) or isinstance(classes, str) or dataset.multi_class:
        return
    index = {name: i for i, name in enumerate(classes)}
    known = class_names_on_disk(dataset)
    foreign = sorted(set(known.values()) - set(index))
    if foreign:
        yield f'{dataset.ann_file}: the label map lacks class {foreign[0]!r}; is it another one?'
        return
    labels = {i: dataset.get_data_info(i)['label'] for i in known}
    wrong = [i for i, name in known.items() if labels[i] != index[name]]
    if not wrong:
        return
    i = wrong[0]
    yield (
        f'{dataset.ann_file}: {len(wrong)} of {len(known)} labels do not fit the label map; for '
        f'one, {place_of(dataset.get_data_info(i))} is {known[i]!r}, which is label '
        f'{index[known[i]]}, not {labels[i]}. Was the list made with another label map, in '
        'alphabetical order as the PAN authors have it, or counted from 1? Write it again, see '
        'tools/data'
    )


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
