"""From records to what each model reached, the fused streams of ensembles included."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np
from mmengine.config import Config

from benchmarks.compared import CONFIGS, MODELS, SEEDS, STREAMS
from pan_mm.models.pan_ensemble import stream_configs

from .records import Record
from .settings import changed_settings, find_config, only_length, settings_of_config


class Result(NamedTuple):
    """What one run, or the fused streams of one seed, reached on the test split."""

    seed: int
    clips: list
    scores: np.ndarray
    backwards: Optional[np.ndarray]
    gmacs: float
    params: float
    minutes: float
    curve: dict

    labels = Record.labels
    accuracies = Record.accuracies


def _result(record: Record) -> Result:
    order = sorted(range(len(record.clips)), key=lambda index: record.clips[index])
    return Result(
        record.info['seed'],
        [record.clips[index] for index in order],
        record.scores[order].astype(float),
        None if record.backwards is None else record.backwards[order].astype(float),
        record.info['gmacs'],
        record.info['params'],
        record.info['train_minutes'],
        record.curve,
    )


def fuse(results: Sequence[Result], weights: Sequence[float]) -> Result:
    """The streams of one seed as PANEnsemble fuses them: the weighted mean of their logits."""
    share = np.array(weights) / sum(weights)

    def mean(arrays):
        return None if any(a is None for a in arrays) else np.tensordot(share, arrays, 1)

    return Result(
        results[0].seed,
        results[0].clips,
        mean([result.scores for result in results]),
        mean([result.backwards for result in results]),
        sum(result.gmacs for result in results),
        sum(result.params for result in results),
        sum(result.minutes for result in results),
        {},
    )


def results_by_model(
    records: Sequence[Record],
    models: Mapping = MODELS,
    split: str = 'test',
    epochs: Optional[int] = None,
) -> tuple:
    """Results on one split of the configs as they are, by model, and what is missing.

    A run of another config counts where options gave it the same settings, and the config itself
    has none of that seed.

    Args:
        records (Sequence[Record]): Records of any runs.
        models (dict): Names of configs by model.
        split (str): As records tell it. Defaults to 'test'.
        epochs (int, optional): Counts runs of this length, with all else as in their configs.
            Defaults to the length that each config has.

    Returns:
        tuple: ``{model: [Result]}`` by seed, and a text for each model that lacks runs.
    """
    runs = [r for r in records if r.info['split'] == split and epochs in (None, r.info['epochs'])]
    found = {}
    for model, config in models.items():
        by_seed = {}
        for record in sorted(runs, key=lambda record: record.info['config'] == config):
            changes = changes_from(config, record)
            if only_length(changes) if epochs else not changes:
                by_seed[record.info['seed']] = _result(record)
        found[model] = [by_seed[seed] for seed in sorted(by_seed)]
    missing = []
    for model, config in models.items():
        streams = fused_streams(config)
        if not streams:
            lacking = [str(seed) for seed in SEEDS if seed not in _seeds(found[model])]
        else:
            weights = list(streams.values())
            parts = [STREAMS[stream] for stream in streams]
            seeds = sorted(set.intersection(*(_seeds(found[part]) for part in parts)))
            for seed in seeds:
                own = [next(r for r in found[part] if r.seed == seed) for part in parts]
                found[model].append(fuse(own, weights))
            lacking = [
                f'{seed} (lacks {", ".join(p for p in parts if seed not in _seeds(found[p]))})'
                for seed in SEEDS
                if seed not in seeds
            ]
        if lacking:
            missing.append(f'{model}: seed {", ".join(lacking)}')
    return found, missing


def changes_from(config: str, record: Record) -> dict:
    """Settings in which a run differs from a config, which may be another than it names."""
    if record.info['config'] == config:
        return record.changes
    named, other = (
        settings_of_config(find_config(CONFIGS, name))[0]
        for name in (record.info['config'], config)
    )
    return changed_settings({**named, **record.changes}, other)


@functools.cache
def fused_streams(config: str) -> dict:
    """Weights of the streams that a config fuses; empty for a single network."""
    model = Config.fromfile(find_config(CONFIGS, config)).model
    if model.type != 'PANEnsemble':
        return {}
    return {name: weight for name, (_, weight, _) in stream_configs(model).items()}


def _seeds(results):
    return {result.seed for result in results}
