"""Whether a dataset on the disk is what a config takes it for, before a long training."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
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


def _class_name(cfg: dict) -> str:
    cls = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    return getattr(cls, '__name__', cfg['type'])


def has_list(cfg: dict) -> bool:
    """Whether the config is of a dataset whose annotation list can be checked."""
    return _class_name(cfg) in ('VideoDataset', 'RawframeDataset')


def check_list(cfg: dict, num_classes: Optional[int] = None, labeled: bool = True) -> list:
    """Problems of the annotation list of a ``VideoDataset`` or ``RawframeDataset``.

    Args:
        cfg (dict): Config of the dataset.
        num_classes (int, optional): Labels must be below it. Not checked by default.
        labeled (bool): Whether each line needs a label. Defaults to True.

    Returns:
        list[str]: See :func:`pan_mm.datasets.checks.annotations.check_annotations`.
    """
    root, prefix = cfg.get('data_root') or '', dict(cfg.get('data_prefix') or {})
    rawframes = _class_name(cfg) == 'RawframeDataset'
    frame_names = None
    if rawframes and cfg.get('modality', 'RGB') == 'RGB':
        frame_names = cfg.get('filename_tmpl', 'img_{:05}.jpg'), cfg.get('start_index', 1)
    return check_annotations(
        os.path.join(root, cfg.get('ann_file') or ''),
        os.path.join(root, prefix.get('img' if rawframes else 'video') or ''),
        num_classes=num_classes,
        rawframes=rawframes,
        with_offset=cfg.get('with_offset', False),
        multi_class=cfg.get('multi_class', False),
        delimiter=cfg.get('delimiter'),
        labeled=labeled,
        frame_names=frame_names,
    )


def missing_classes(cfgs: Sequence[dict], num_classes: int) -> list:
    """Classes that no video of some lists is of.

    Args:
        cfgs (Sequence[dict]): Configs of ``VideoDataset`` or ``RawframeDataset``.
        num_classes (int): Classes of the model.

    Returns:
        list[str]: Their names, or labels where the first dataset's ``metainfo`` does not name them.
    """
    quick = dict(pipeline=[], test_mode=True, serialize_data=False)
    datasets = [DATASETS.build(dict(cfg, **quick)) for cfg in cfgs]
    labels = {
        int(label)
        for dataset in datasets
        for info in dataset.data_list
        for label in np.atleast_1d(info['label'])
    }
    names = dict(enumerate(datasets[0].metainfo.get('classes') or ()))
    return [str(names.get(i, i)) for i in range(num_classes) if i not in labels]


def open_dataset(cfg: dict, num_classes: Optional[int] = None) -> tuple:
    """Read the annotations of a ``VideoDataset`` or ``RawframeDataset``, or of a kind of these.

    MotionShapes, which writes its own list, is rendered if it is not there.

    Args:
        cfg (dict): Config of the dataset.
        num_classes (int, optional): Labels must be below it. Not checked by default.

    Returns:
        tuple: The dataset, or None where its list cannot be read, and the problems of the list.

    Raises:
        DataError: If the config is of another type of dataset.
    """
    if not has_list(cfg):
        cls = DATASETS.get(cfg['type'])
        if not (cls and issubclass(cls, (VideoDataset, RawframeDataset))):
            raise DataError(
                f'{_class_name(cfg)} has no annotation list; check the datasets inside it'
            )
        return DATASETS.build(dict(cfg, pipeline=[], test_mode=True)), []
    problems = check_list(cfg, num_classes)
    try:
        return DATASETS.build(dict(cfg, pipeline=[], test_mode=True)), problems
    except Exception:
        if problems:
            return None, problems  # which say why
        raise


def infos(dataset) -> Iterator[dict]:
    """What the dataset knows of each video before it is read."""
    return (dataset.get_data_info(i) for i in range(len(dataset)))


def check_frames(dataset) -> Iterator[str]:
    """Find folders of a ``RawframeDataset`` that lack frames or hold more than the list says."""
    for info in infos(dataset):
        folder = info['frame_dir']
        if not os.path.isdir(folder):
            continue  # check_annotations has reported it
        there = set(os.listdir(folder))
        first = info['start_index'] + info.get('offset', 0)
        names = [info['filename_tmpl'].format(first + i) for i in range(info['total_frames'])]
        missing = [name for name in names if name not in there]
        after = info['filename_tmpl'].format(first + info['total_frames'])
        if missing:
            yield (
                f'{folder}: {len(missing)} of {len(names)} frames are missing, such as '
                f'{missing[0]} (it holds {len(there)} files); correct the list, filename_tmpl or '
                'start_index, or extract the frames again'
            )
        elif after in there and not dataset.with_offset:
            yield f'{folder}: has more frames than the {len(names)} of the list'


def class_names_on_disk(dataset) -> dict:
    """Class names that can be known of the videos, whatever their labels say.

    They come from the official label files in ``data_root/annotations`` (Something-Something,
    Jester), or from the folder of a video if that is named after a class.

    Returns:
        dict[int, str]: Index in the dataset to class name.
    """
    classes = dataset.metainfo.get('classes')
    paths = [Path(info.get('frame_dir') or info['filename']) for info in infos(dataset)]
    official = {}
    for file in (f for files in OFFICIAL_FILES.values() for f in files.values()):
        path = os.path.join(dataset.data_root or '', 'annotations', file)
        if os.path.isfile(path):
            official.update(read_official_labels(path))
    if official:
        known = {i: official.get(path.stem) for i, path in enumerate(paths)}
    else:
        by_folder = {_plain(name): name for name in classes}
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
    ordered = {name: i for i, name in enumerate(sorted(classes))}
    if all(labels[i] == ordered[name] for i, name in known.items()):
        reason = 'they follow the alphabetical order of the classes, as the PAN authors have it'
    elif all(labels[i] == index[name] + 1 for i, name in known.items()):
        reason = 'they are counted from 1'
    else:
        reason = 'the list was made with another label map'
    i = wrong[0]
    info = dataset.get_data_info(i)
    path = info.get('frame_dir') or info['filename']
    yield (
        f'{dataset.ann_file}: {len(wrong)} of {len(known)} labels do not fit the label map: '
        f'{reason}; for one, {path} is {known[i]!r}, which is label {index[known[i]]}, not '
        f'{labels[i]}. Write the list again, see tools/data'
    )


def check_decoding(dataset, pipeline: Sequence, workers: int = 4) -> Iterator[Optional[str]]:
    """Decode eight frames of each video, the first and last included.

    Args:
        dataset: A ``VideoDataset`` or ``RawframeDataset``.
        pipeline (Sequence[dict]): Its pipeline, of which the transforms that open and decode a
            video are used.
        workers (int): Threads. Defaults to 4.

    Yields:
        str | None: For each video, why it cannot be decoded, or None.
    """
    steps = [TRANSFORMS.build(t) for t in pipeline if kind_of(t) in ('open', 'decode')]
    if not steps:
        raise DataError('the pipeline has no transform that decodes (…Init, …Decode)')

    def read(i: int) -> Optional[str]:
        results = dataset.get_data_info(i)
        name = results.get('frame_dir') or results['filename']
        try:
            for step in steps[:-1]:
                results = step.transform(results)
            frames = np.linspace(0, results['total_frames'] - 1, 8).astype(int)
            results['frame_inds'] = np.unique(frames) + results['start_index']
            results = steps[-1].transform(results)
            if any(image is None for image in results['imgs']):
                return f'{name}: a frame is not an image'
        except Exception as error:
            message = str(error) or type(error).__name__
            return message if name in message else f'{name}: cannot be decoded ({message})'
        return None

    with ThreadPool(workers) as pool:
        yield from pool.imap(read, range(len(dataset)))


def summarize(dataset) -> str:
    """Number of videos and their spread over the classes, in one line."""
    labels = [info['label'] for info in infos(dataset)]
    if dataset.multi_class:  # a vector of zeros and ones for each video
        labels = [label for vector in labels for label in vector.nonzero().flatten().tolist()]
    counts = Counter(labels)
    line = f'{len(dataset)} videos of {len(counts)} classes'
    if counts:
        line += f', {min(counts.values())} to {max(counts.values())} of each'
    classes = dataset.metainfo.get('classes')
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        absent = [name for i, name in enumerate(classes) if i not in counts]
        if absent:
            line += f'; none of {len(absent)} classes, such as {", ".join(map(repr, absent[:3]))}'
    return line
