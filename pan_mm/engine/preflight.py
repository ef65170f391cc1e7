"""Checks of a config before the run has spent time: what would fail late, or be wrong silently."""

from collections.abc import Iterator
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from pan_mm.config.find import without
from pan_mm.config.overrides import argument, arguments
from pan_mm.config.pipelines import kind_of, leaf_datasets
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
    problems = [p for each in recognizers for p in _check_statistics(each, preprocessor)]
    problems += [p for each in recognizers for p in _check_loss(each.get('cls_head') or {})]
    for split in splits:
        dataloader = cfg.get(f'{split}_dataloader') or {}
        if not isinstance(dataloader, dict):
            kind = type(dataloader).__name__
            problems.append(f'{split}_dataloader is a {kind}, not a dict; is a comma after it?')
            continue
        is_evaluated = split != 'train' and _is_evaluated(cfg.get(f'{split}_evaluator'))
        if is_evaluated:
            problems += _check_average(recognizers[0].get('cls_head') or {})
        for dataset in leaf_datasets(dataloader.get('dataset')):
            problems += _check_normalized(preprocessor, dataset)
            found = _check_dataset(recognizers, dataset, split == 'train' or is_evaluated)
            problems += [f'{split}: {problem}' for problem in found]
    problems = list(dict.fromkeys(problems))
    if problems:
        raise DataError(f'{len(problems)} problem(s) found before the start:{listed(problems)}')


def _check_dataset(recognizers: list, dataset: dict, labeled: bool) -> Iterator[str]:
    for recognizer in recognizers:
        found = list(_check_sampling(recognizer, dataset))
        yield from found or _check_shapes(recognizer, dataset)
    num_classes = (recognizers[0].get('cls_head') or {}).get('num_classes')
    if dataset.get('multi_class') and dataset.get('num_classes') != num_classes:
        yield (
            f'num_classes={dataset.get("num_classes")} of {dataset["type"]} but '
            f'model.cls_head.num_classes={num_classes}; set both to the same number'
        )
    if has_list(dataset):  # others check their own annotations
        yield from check_list(dataset, num_classes, labeled)


def _is_evaluated(evaluators: Any) -> bool:
    """Tell whether scores are held against labels, not only dumped."""
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return any(e and 'DumpResults' not in str(e['type']) for e in evaluators)


def _check_statistics(recognizer: dict, preprocessor: dict) -> Iterator[str]:
    """Check that frames are normalized as the weights of the backbone expect it."""
    backbone = recognizer.get('backbone') or {}
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
    if _is_3d(pipeline) or not (is_pan or 'VAPHead' in str(head.get('type'))):
        return
    clip_len = argument(backbone, 'clip_len') if is_pan else 1
    wanted = dict(
        num_clips=(own or classified, 'segments'),
        clip_len=(clip_len, 'adjacent frames of each segment'),
    )
    for transform in pipeline:
        if 'SampleFrames' not in str(transform.get('type')):
            continue
        for name, (number, unit) in wanted.items():
            if argument(transform, name) != number:
                yield (
                    f'{name}={argument(transform, name)} of {transform["type"]}, but the model '
                    f'takes {number} {unit}; set both to the same number'
                )


def _check_average(head: dict) -> Iterator[str]:
    takes_it = 'average_clips' in arguments(head.get('type'))
    if takes_it and argument(head, 'average_clips') is None:
        yield (
            'model.cls_head.average_clips is not set, so that a video has a score of each clip and '
            "no metric can be computed; set 'prob' or 'score'"
        )


def _check_loss(head: dict) -> Iterator[str]:
    """Check that weights of classes belong to a loss, and are as many as the classes."""
    loss, where = head.get('loss_cls') or {}, 'model.cls_head.loss_cls'
    if loss and 'type' not in loss:
        yield f"{where} has no type; add type='CrossEntropyLoss'"
    weights, classes = loss.get('class_weight'), head.get('num_classes')
    if isinstance(weights, (list, tuple)) and len(weights) != classes:
        yield (
            f'{where}.class_weight has {len(weights)} weights, but num_classes={classes}; give one '
            'for each class'
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


def _check_shapes(recognizer: dict, dataset: dict) -> Iterator[str]:
    """Check that the head fits the backbone's feature maps of one clip, from shapes only."""
    head, pipeline = recognizer.get('cls_head') or {}, dataset.get('pipeline') or []
    samplers = [transform for transform in pipeline if kind_of(transform) == 'sample']
    if not head.get('in_channels') or recognizer.get('neck') or len(samplers) != 1:
        return
    num_clips, clip_len = (argument(samplers[0], key) or 1 for key in ('num_clips', 'clip_len'))
    shape = (1, 3, clip_len, 64, 64) if _is_3d(pipeline) else (num_clips * clip_len, 3, 64, 64)
    try:
        with torch.device('meta'), torch.random.fork_rng([]), torch.no_grad():
            model = MODELS.build(without(recognizer, ('pretrained', 'weights'))).eval()
            maps, _ = model.extract_feat(torch.empty(1, *shape), stage='backbone')
    except Exception:  # the model itself reports unsupported input
        return
    if not isinstance(maps, torch.Tensor) or maps.ndim < 4:
        return
    if maps.shape[1] != head['in_channels']:
        yield (
            f'model.cls_head.in_channels={head["in_channels"]}, but the feature maps of '
            f'model.backbone have {maps.shape[1]} channels; set model.cls_head.in_channels='
            f'{maps.shape[1]}'
        )
    segments = maps.shape[2] if maps.ndim == 5 else len(maps)
    wanted = argument(head, 'num_segments')
    if 'VAPHead' in str(head.get('type')) and segments != wanted:
        yield (
            f'model.cls_head.num_segments={wanted}, but model.backbone makes {segments} feature '
            f'maps of a clip; set model.cls_head.num_segments={segments}'
        )


def _is_3d(pipeline: list) -> bool:
    """Tell whether it makes clips of (3, T, H, W), not frames."""
    return any(transform.get('input_format') == 'NCTHW' for transform in pipeline)
