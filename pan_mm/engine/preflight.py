"""What can be known to be wrong with a config before the run has spent time."""

import inspect
from collections.abc import Iterator
from typing import Any

from mmaction.registry import MODELS
from mmengine.config import Config

from pan_mm.datasets.checks.annotations import listed
from pan_mm.datasets.checks.dataset import check_list, has_list
from pan_mm.datasets.pipelines import leaf_datasets
from pan_mm.models.backbone_2d import pixel_statistics, same_statistics
from pan_mm.models.pan_ensemble import stream_configs
from pan_mm.models.pretrained import PIP, find_in_pip
from pan_mm.utils.errors import DataError


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
    problems += [p for model in recognizers for p in _check_statistics(model, cfg.model)]
    if 'train' in splits:
        problems += [p for model in recognizers for p in _check_pretrained(model)]
    for split in splits:
        dataloader = cfg.get(f'{split}_dataloader')
        for dataset in leaf_datasets(dataloader and dataloader.get('dataset')):
            for model in recognizers:
                problems += [f'{split}: {p}' for p in _check_sampling(model, dataset)]
            labelled = split == 'train' or _is_evaluated(cfg.get(f'{split}_evaluator'))
            num_classes = (recognizers[0].get('cls_head') or {}).get('num_classes')
            if dataset.get('multi_class') and dataset.get('num_classes') != num_classes:
                problems.append(
                    f'{split}: num_classes={dataset.get("num_classes")} of {dataset["type"]} but '
                    f'model.cls_head.num_classes={num_classes}; set both to the same number'
                )
            if has_list(dataset):  # others know their own annotations
                found = check_list(dataset, num_classes, labelled)
                problems += [f'{split}: {problem}' for problem in found]
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


def _is_evaluated(evaluators: Any) -> bool:
    """Whether scores are held against labels, not only dumped."""
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return any(e and 'DumpResults' not in str(e['type']) for e in evaluators)


def _argument(part: dict, name: str) -> Any:
    """What the config of a backbone or head says of an argument, or its default; else None."""
    kind = part.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    parameters = inspect.signature(cls).parameters if cls else {}
    default = parameters[name].default if name in parameters else None
    return part.get(name, None if default is inspect.Parameter.empty else default)


def _inner_backbone(recognizer: dict) -> tuple:
    """Config of the 2D network of a recognizer, and where it stands."""
    backbone, where = recognizer.get('backbone') or {}, 'model.backbone'
    if 'PANBackbone' in str(backbone.get('type')):
        backbone, where = backbone.get('backbone') or {}, 'model.backbone.backbone'
    return backbone, where


def _check_pretrained(recognizer: dict) -> Iterator[str]:
    """Whether the package is there that brings the weights of a backbone."""
    backbone, where = _inner_backbone(recognizer)
    source = backbone.get('pretrained')
    try:
        if isinstance(source, str) and source.startswith(PIP):
            find_in_pip(source)
    except (ImportError, ValueError) as error:
        yield f'{where}.pretrained: {error}'


def _check_statistics(recognizer: dict, model: dict) -> Iterator[str]:
    """Whether frames are normalised as for the weights of a backbone that tells how."""
    backbone, where = _inner_backbone(recognizer)
    kind = backbone.get('type')
    try:
        wanted = pixel_statistics(kind) if kind else None
        preprocessor = model.get('data_preprocessor') or {}
        of = preprocessor.get('mean_std_of')
        given = pixel_statistics(of) if of else [preprocessor.get(k) for k in ('mean', 'std')]
    except (ImportError, ValueError) as error:
        yield f'{where}: {error}'
        return
    if wanted and not all(map(same_statistics, (v or [] for v in given), wanted)):
        mean, std = ([round(value, 3) for value in values] for values in wanted)
        yield (
            f'model.data_preprocessor has mean={given[0]}, std={given[1]}, but weights of {kind} '
            f'are for mean={mean}, std={std}; set them, or mean_std_of={kind!r} of '
            'PANDataPreprocessor instead'
        )


def _check_sampling(model: dict, dataset: dict) -> Iterator[str]:
    backbone, head = model.get('backbone') or {}, model.get('cls_head') or {}
    is_pan = 'PANBackbone' in str(backbone.get('type'))
    is_vap = 'VAPHead' in str(head.get('type'))
    own, classified = (_argument(part, 'num_segments') for part in (backbone, head))
    num_segments = own or classified
    pools = (backbone.get('backbone', {}) if is_pan else backbone).get('temporal_pool')
    halved = bool(pools) and _argument(head, 'temporal_pool') is None
    if own and classified and own >> halved != classified:
        yield (
            f'model.backbone.num_segments={own}{", which temporal_pool halves," if halved else ""} '
            f'but model.cls_head.num_segments={classified}; set both to '
            f'{"fit" if halved else "the same number"}'
        )
    for transform in dataset.get('pipeline') or []:
        if 'SampleFrames' not in str(transform.get('type')):
            continue
        num_clips = transform.get('num_clips', 8 if 'PAN' in str(transform.get('type')) else 1)
        if (is_pan or is_vap) and num_clips != num_segments:
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
