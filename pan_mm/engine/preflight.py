"""Checks of a config before the run has spent time: what would be wrong silently, or fail late."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from pan_mm.config.overrides import argument, arguments
from pan_mm.config.pipelines import leaf_datasets
from pan_mm.datasets.checks import check_list, has_list
from pan_mm.models.backbone_2d import pixel_statistics, same_statistics
from pan_mm.models.pan_ensemble import stream_configs
from pan_mm.utils.errors import DataError, listed


def preflight(cfg: Config, splits: tuple = ('train', 'val')) -> None:
    """Check that the parts of a recognizer fit and that annotations and files are sound.

    Args:
        cfg (Config): Config of a run, as for MMEngine's ``Runner``.
        splits (tuple[str]): Which of 'train', 'val', 'test' will be run.

    Raises:
        DataError: Naming each argument, file and line that is wrong (at most ten).
    """
    model = cfg.get('model') or {}
    preprocessor = model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    recognizers = [model]
    if 'PANEnsemble' in str(model.get('type')):
        recognizers = [recognizer for recognizer, *_ in stream_configs(model).values()]
        if 'train' in splits:
            raise DataError(
                'PANEnsemble is not trained: train each stream with its own config, and join the '
                'checkpoints with tools/convert/merge_streams.py'
            )
    head = recognizers[0].get('cls_head') or {}
    loss = head.get('loss_cls') or {}
    problems = []
    if loss and 'type' not in loss:
        problems.append("model.cls_head.loss_cls has no type; add type='CrossEntropyLoss'")
    for recognizer in recognizers:
        problems += _check_statistics(recognizer.get('backbone') or {}, preprocessor)
    for split in splits:
        labeled = split == 'train' or _is_evaluated(cfg.get(f'{split}_evaluator'))
        dataloader = cfg.get(f'{split}_dataloader') or {}
        for dataset in leaf_datasets(dataloader.get('dataset')):
            problems += _check_normalized(preprocessor, dataset)
            found = [p for each in recognizers for p in _check_sampling(each, dataset)]
            found += _check_labels(head.get('num_classes'), dataset, labeled)
            problems += [f'{split}: {problem}' for problem in found]
    problems = list(dict.fromkeys(problems))
    if problems:
        raise DataError(f'{len(problems)} problem(s) found before the start:{listed(problems)}')


def _is_evaluated(evaluators: Any) -> bool:
    """Tell whether scores are held against labels, not only dumped."""
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return any(e and 'DumpResults' not in str(e['type']) for e in evaluators)


def _check_labels(num_classes: int, dataset: dict, labeled: bool) -> Iterator[str]:
    if dataset.get('multi_class') and dataset.get('num_classes') != num_classes:
        yield (
            f'num_classes={dataset.get("num_classes")} of {dataset["type"]} but '
            f'model.cls_head.num_classes={num_classes}; set both to the same number'
        )
    if has_list(dataset):  # others check their own annotations
        yield from check_list(dataset, num_classes, labeled)


def _check_statistics(backbone: dict, preprocessor: dict) -> Iterator[str]:
    """Check that frames are normalized as the weights of the backbone expect it."""
    if 'PANBackbone' in str(backbone.get('type')):
        backbone = backbone.get('backbone') or {}
    kind, of = backbone.get('type'), preprocessor.get('mean_std_of')
    wanted = pixel_statistics(kind) if kind else None
    given = pixel_statistics(of) if of else [preprocessor.get(key) for key in ('mean', 'std')]
    if wanted and not all(map(same_statistics, (v or [] for v in given), wanted)):
        mean, std = ([round(value, 3) for value in values] for values in wanted)
        yield (
            f'model.data_preprocessor has mean={given[0]}, std={given[1]}, but weights of {kind} '
            f'are for mean={mean}, std={std}; set them, or mean_std_of={kind!r} of '
            'PANDataPreprocessor instead'
        )


def _check_normalized(preprocessor: dict, dataset: dict) -> Iterator[str]:
    """Check that pictures reach the model normalized."""
    kind = preprocessor.get('type', 'ActionDataPreprocessor')
    pipeline = dataset.get('pipeline') or []
    formats = {transform.get('input_format') for transform in pipeline}
    if not formats & {'NCHW', 'NCTHW'} or 'mean' not in arguments(kind):
        return
    normalize = 'Normalize' in str([transform.get('type') for transform in pipeline])
    if not normalize and not preprocessor.get('mean') and not preprocessor.get('mean_std_of'):
        yield (
            'model.data_preprocessor has no mean and std, so that pixels are 0 to 255; set both '
            '(ImageNet weights want mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]; '
            'mean=[0, 0, 0], std=[1, 1, 1] changes nothing)'
        )


def _check_sampling(recognizer: dict, dataset: dict) -> Iterator[str]:
    """Check that backbone, head and sampler mean the same segments of the same frames."""
    backbone, head = recognizer.get('backbone') or {}, recognizer.get('cls_head') or {}
    is_pan = 'PANBackbone' in str(backbone.get('type'))
    own, classified = (argument(part, 'num_segments') for part in (backbone, head))
    pools = (backbone.get('backbone') or {} if is_pan else backbone).get('temporal_pool')
    if own and classified and own != classified and not pools:
        yield (
            f'model.backbone.num_segments={own} but model.cls_head.num_segments={classified}; '
            'set both to the same number'
        )
    pipeline = dataset.get('pipeline') or []
    is_3d = any(transform.get('input_format') == 'NCTHW' for transform in pipeline)
    if is_3d or not (is_pan or 'VAPHead' in str(head.get('type'))):
        return
    wanted = dict(
        num_clips=(own or classified, 'segments'),
        clip_len=(argument(backbone, 'clip_len') if is_pan else 1, 'adjacent frames of a segment'),
    )
    samplers = [each for each in pipeline if 'SampleFrames' in str(each.get('type'))]
    for sampler in samplers:
        for name, (number, unit) in wanted.items():
            if argument(sampler, name) != number:
                yield (
                    f'{name}={argument(sampler, name)} of {sampler["type"]}, but the model '
                    f'takes {number} {unit}; set both to the same number'
                )
