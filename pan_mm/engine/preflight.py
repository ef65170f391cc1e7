"""What can be known to be wrong with a config before the run has spent time."""

import os
from collections.abc import Iterator
from typing import Optional

from mmaction.registry import DATASETS
from mmengine.config import Config

from pan_mm.datasets.integrity import DataError, check_annotations, listed
from pan_mm.models.pan_ensemble import stream_configs


def preflight(cfg: Config, splits: tuple = ('train', 'val')) -> None:
    """Check that the sampling fits the model and that annotations and files are sound.

    Args:
        cfg (Config): Config of a run, as for MMEngine's ``Runner``.
        splits (tuple[str]): Which of 'train', 'val', 'test' will be run.

    Raises:
        DataError: Naming each argument, file and line that is wrong (at most ten).
    """
    problems = []
    recognizers = _recognizers(cfg.model)
    if 'train' in splits and _is_ensemble(cfg.model):
        problems.append('train: PANEnsemble only tests; train each stream with its own config')
    for split in splits:
        dataloader = cfg.get(f'{split}_dataloader')
        for dataset in _leaf_datasets(dataloader and dataloader.get('dataset')):
            for model in recognizers:
                problems += [f'{split}: {p}' for p in _check_sampling(model, dataset)]
            problems += [f'{split}: {p}' for p in _check_data(recognizers[0], dataset)]
    problems = list(dict.fromkeys(problems))
    if problems:
        raise DataError(f'{len(problems)} problem(s) found before the start:{listed(problems)}')


def _is_ensemble(model: dict) -> bool:
    return 'PANEnsemble' in str(model.get('type'))


def _recognizers(model: dict) -> list:
    """Config of the recognizer, or those of the streams of an ensemble."""
    if not _is_ensemble(model):
        return [model]
    return [recognizer for recognizer, *_ in stream_configs(model).values()]


def _leaf_datasets(dataset: Optional[dict]) -> Iterator[dict]:
    """The datasets inside wrappers such as RepeatDataset and ConcatDataset."""
    if not dataset:
        return
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if inner == [None]:
        yield dataset
    for each in filter(None, inner):
        yield from _leaf_datasets(each)


def _check_sampling(model: dict, dataset: dict) -> Iterator[str]:
    backbone, head = model.get('backbone') or {}, model.get('cls_head') or {}
    is_pan = 'PANBackbone' in str(backbone.get('type'))
    is_vap = 'VAPHead' in str(head.get('type'))
    num_segments = head.get('num_segments', 8) if is_vap else None
    if is_pan and is_vap and backbone.get('num_segments', 8) != num_segments:
        yield (
            f'model.backbone.num_segments={backbone.get("num_segments", 8)} but '
            f'model.cls_head.num_segments={num_segments}; set both to the same number'
        )
    for transform in dataset.get('pipeline') or []:
        if 'SampleFrames' not in str(transform.get('type')):
            continue
        num_clips = transform.get('num_clips', 8 if 'PAN' in str(transform.get('type')) else 1)
        if is_vap and num_clips != num_segments:
            yield (
                f'num_clips={num_clips} of {transform["type"]} but num_segments={num_segments} of '
                'the model; set both to the same number'
            )
        clip_len = backbone.get('clip_len', 4) if is_pan else 1
        if (is_pan or is_vap) and transform.get('clip_len') != clip_len:
            yield (
                f'clip_len={transform.get("clip_len")} of {transform["type"]} but the model takes '
                f'{clip_len} adjacent frames of each segment; set both to the same number'
            )


def _check_data(model: dict, dataset: dict) -> Iterator[str]:
    cls = DATASETS.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
    name = getattr(cls, '__name__', None)
    if name not in ('VideoDataset', 'RawframeDataset'):
        return  # knows its own annotations
    root = dataset.get('data_root') or ''
    prefix = dict(dataset.get('data_prefix') or {})
    rawframes = name == 'RawframeDataset'
    yield from check_annotations(
        os.path.join(root, dataset.get('ann_file') or ''),
        os.path.join(root, prefix.get('img' if rawframes else 'video') or ''),
        num_classes=(model.get('cls_head') or {}).get('num_classes'),
        rawframes=rawframes,
        with_offset=dataset.get('with_offset', False),
        multi_class=dataset.get('multi_class', False),
        delimiter=dataset.get('delimiter'),
    )
