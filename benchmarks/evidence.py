"""Group runs by model, and compare models: intervals over people, splits and scenes, and chance."""

import dataclasses
import functools
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd
from mmengine.config import Config
from scipy import stats

from benchmarks.compared import LABEL_MAP, OPPOSITES, PAIRS, SAME_SETTINGS, STREAMS
from benchmarks.runs import METRICS, Run, find_config, without_scale
from pan_mm.datasets.file_lists import read_label_map
from pan_mm.models.pan_ensemble import stream_configs

COSTS = ('loss', 'gmacs', 'params', 'minutes')
ORDER = ('backwards', 'pairs', 'as_partner', 'as_before')


def fuse(runs: Sequence[Run], weights: Sequence[float]) -> Run:
    """Average the logits of runs with the same seed and clips, as PANEnsemble does."""
    share = np.array(weights) / sum(weights)
    costs = {key: sum(run.info[key] for run in runs) for key in ('gmacs', 'params', 'minutes')}
    has_backwards = all(run.backwards is not None for run in runs)
    return dataclasses.replace(
        runs[0],
        info=dict(runs[0].info, **costs, loss=None, changes={}),
        scores=np.tensordot(share, [run.scores for run in runs], 1),
        backwards=np.tensordot(share, [run.backwards for run in runs], 1)
        if has_backwards
        else None,
    )


def pool(runs: Iterable[Run]) -> list:
    """Join the runs of each seed over splits whose test clips differ, such as folds.

    Seeds that were tested on fewer splits than another one are left out.
    """
    by_seed: dict = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    most = max(map(len, by_seed.values()), default=0)
    return [_join(own) for own in by_seed.values() if len(own) == most]


def _join(runs):
    runs = sorted(runs, key=lambda run: run.info['split'])
    columns = {
        name: [getattr(run, name) for run in runs]
        for name in ('clips', 'labels', 'scores', 'backwards', 'scenes')
    }
    arrays = {
        name: None if any(part is None for part in parts) else np.concatenate(parts)
        for name, parts in columns.items()
    }
    losses = [run.info['loss'] for run in runs]
    info = dict(
        runs[0].info,
        split=' + '.join(run.info['split'] for run in runs),
        loss=None if None in losses else float(np.mean(losses)),
        minutes=sum(run.info['minutes'] for run in runs),
    )
    return Run(info, **arrays)


def first_classes(run: Run, count: int) -> Run:
    """Keep the clips of the first classes, and for each clip only the scores of these classes."""
    kept = run.labels < count
    return dataclasses.replace(
        run,
        clips=run.clips[kept],
        labels=run.labels[kept],
        scores=run.scores[kept, :count],
        backwards=None if run.backwards is None else run.backwards[kept, :count],
        scenes=None if run.scenes is None else run.scenes[kept],
    )


@functools.cache
def fused_streams(config: str) -> dict:
    """Weights of the streams that a config fuses; empty for a single network."""
    model = Config.fromfile(find_config(config)).model
    if model.type != 'PANEnsemble':
        return {}
    return {name: weight for name, (_, weight, _) in stream_configs(model).items()}


def settings_of(run: Run) -> tuple:
    """Config of a run and its changes of it; another config where an option gives the same."""
    own = run.info['config'], run.info['changes']
    for same in SAME_SETTINGS:
        if own == (same['config'], same['changes']):
            return same['same_as'], {}
    return own


def runs_by_model(
    runs: Iterable[Run], models: Mapping, split: str = 'test', epochs: Optional[int] = None
) -> dict:
    """Runs of configs as they are, and ensembles of such runs with the same seed.

    Args:
        runs (Iterable[Run]): Runs of one dataset.
        models (Mapping): Names of configs by model.
        split (str): Defaults to 'test', the lists of the configs.
        epochs (int, optional): Counts runs of this length that are otherwise as in their configs.
            Defaults to the length that each config has.

    Returns:
        dict[str, list[Run]]: For each model its runs, ordered by seed.
    """
    found = {model: [] for model in models}
    names = {config: model for model, config in models.items()}
    for run in sorted(runs, key=lambda run: run.seed):
        config, changes = settings_of(run)
        is_plain = not (without_scale(changes) if epochs else changes)
        has_length = epochs in (None, run.info['epochs'])
        if config in names and run.info['split'] == split and is_plain and has_length:
            found[names[config]].append(run)
    for model, config in models.items():
        if streams := fused_streams(config):
            parts = [{run.seed: run for run in found[STREAMS[name]]} for name in streams]
            for seed in sorted(set.intersection(*map(set, parts))):
                found[model].append(fuse([part[seed] for part in parts], list(streams.values())))
    return found


def mean_top1(runs: Sequence[Run]) -> float:
    """Mean top-1 accuracy in percent."""
    return float(np.mean([run.accuracies['top1'] for run in runs]))


def interval(values: Sequence[float]) -> tuple:
    """95 % interval of the mean by Student's t distribution."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def bootstrap(
    values: Sequence[float], weights: Optional[Sequence[float]] = None, resamples: int = 10_000
) -> tuple:
    """95 % percentile interval of the weighted mean, values drawn again with seed 0."""
    values = np.asarray(values)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    means = (values * weights)[drawn].sum(1) / weights[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def wilson(hits: int, total: int) -> tuple:
    """95 % interval of a share by Wilson's method, in percent."""
    low, high = stats.binomtest(hits, total).proportion_ci(0.95, method='wilson')
    return 100 * low, 100 * high


def mcnemar(one: Run, other: Run) -> float:
    """Two-sided p of McNemar's exact test on the clips of two runs."""
    wins, losses = int((one.hits & ~other.hits).sum()), int((other.hits & ~one.hits).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def paired(ones: Iterable[Run], others: Iterable[Run]) -> list:
    """Pairs of runs with the same seed and the same split."""
    own = {(run.seed, run.info['split']): run for run in others}
    keys = ((run, (run.seed, run.info['split'])) for run in ones)
    return [(run, own[key]) for run, key in keys if key in own]


def by_unit(runs: Iterable[Run], unit: str) -> pd.DataFrame:
    """Count recognized clips by person or scene.

    Args:
        runs (Iterable[Run]): Each on all clips of its units; those without known scenes are left
            out.
        unit (str): 'subject', which the clips of UTD-MHAD name: ``a3_s2_t1_depth.mp4``; or 'scene'.

    Returns:
        pd.DataFrame: ``percent`` recognized, mean over runs, and ``clips``, the number of a run's
        clips, by subject or scene.
    """
    rows: list = []
    for number, run in enumerate(runs):
        units = run.scenes
        if unit == 'subject':
            units = [int(re.search(r'_s(\d+)_', clip)[1]) for clip in run.clips]
        if units is not None:
            rows += zip(units, itertools.repeat(number), 100.0 * run.hits)
    groups = pd.DataFrame(rows, columns=['unit', 'run', 'percent']).groupby('unit')
    clips = groups['percent'].count() // groups['run'].nunique()
    return pd.DataFrame(dict(percent=groups['percent'].mean(), clips=clips))


def over_scenes(scenes: pd.DataFrame) -> tuple:
    """Percent of the clips of all scenes of :func:`by_unit`, and its 95 % bootstrap interval."""
    percents, clips = scenes['percent'], scenes['clips']
    return float(np.average(percents, weights=clips)), bootstrap(percents, clips)


class Difference(NamedTuple):
    """The lead of one model over another, in points of top-1.

    Attributes:
        points (dict[str, float]): By subject, scene or split.
        mean (float): Over them; scenes count by their clips.
        t (tuple[float]): 95 % interval of the mean by Student's t; NaN for scenes, whose numbers of
            clips differ.
        bootstrap (tuple[float]): The same by drawing subjects, scenes or splits again.
        mcnemar_p (float): McNemar's exact test on the clips, the largest p of all pairs of runs.
    """

    points: dict
    mean: float
    t: tuple
    bootstrap: tuple
    mcnemar_p: float


def difference(ones: Sequence[Run], others: Sequence[Run], unit: str) -> Optional[Difference]:
    """Compare the runs of two models.

    Args:
        ones (Sequence[Run]): Runs of the first model.
        others (Sequence[Run]): Runs of the second one.
        unit (str): 'subject', 'scene' or 'split'.

    Returns:
        Difference: None where fewer than two subjects, scenes or splits can be compared.
    """
    pairs = paired(ones, others)
    weights = None
    if unit == 'split':
        splits = [one.info['split'] for one, _ in pairs]
        gains = [one.accuracies['top1'] - other.accuracies['top1'] for one, other in pairs]
        leads = pd.Series(gains, splits, float).groupby(level=0, sort=False).mean()
    else:
        first, second = by_unit(ones, unit), by_unit(others, unit)
        leads = (first['percent'] - second['percent']).dropna().add_prefix(f'{unit} ')
    if unit == 'scene':
        weights = first['clips'].add_prefix('scene ')[leads.index]
        pairs = [*zip(*(pool(side) for side in zip(*pairs)))]  # all folds of a seed
    if len(leads) < 2 or not pairs:
        return None
    t = interval(leads) if weights is None else (math.nan, math.nan)
    mean, drawn = float(np.average(leads, weights=weights)), bootstrap(leads, weights)
    return Difference(leads.to_dict(), mean, t, drawn, max(mcnemar(*pair) for pair in pairs))


def differences(settings: Mapping, pairs: Sequence[tuple] = PAIRS) -> dict:
    """Compare pairs of models in each setting.

    Args:
        settings (Mapping): For each name the unit and ``{model: [Run]}``.
        pairs (Sequence[tuple[str]]): Names of two models.

    Returns:
        dict[tuple, Difference]: By the names of the setting and of both models.
    """
    found = {}
    for name, (unit, models) in settings.items():
        for one, other in pairs:
            own = difference(models.get(one, []), models.get(other, []), unit)
            if own:
                found[name, one, other] = own
    return found


def order_accuracies(run: Run) -> dict:
    """Percentages that show how far a model reads the order of time.

    Returns:
        dict[str, float]: ``backwards``: top-1 of all clips played backwards, by their own labels.
        For the clips of pairs of classes that are each other's reversal: ``pairs``, top-1
        forwards; ``as_partner``, backwards and recognized as the partner, which is right;
        ``as_before``, backwards and recognized as forwards. Empty without backwards scores.
    """
    if run.backwards is None:
        return {}
    partners = _partners(run.labels, OPPOSITES, LABEL_MAP)
    of_pairs = partners >= 0
    answers = run.backwards.argmax(1)
    shares = dict(
        backwards=answers == run.labels,
        pairs=run.hits[of_pairs],
        as_partner=(answers == partners)[of_pairs],
        as_before=(answers == run.labels)[of_pairs],
    )
    return {name: float(100 * hits.mean()) for name, hits in shares.items()}


def _partners(labels, opposites, label_map):
    """Labels of the opposite classes; -1 where a class has none."""
    names = read_label_map(label_map)
    pairs = [tuple(map(names.index, pair)) for pair in opposites]
    partner = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    return np.array([partner.get(label, -1) for label in labels.tolist()])


def opposite_backwards(run: Run, opposites: Sequence[tuple], label_map: Path) -> np.ndarray:
    """Answers to recognized clips played backwards, of classes that have an opposite.

    Args:
        run (Run): With backwards scores.
        opposites (Sequence[tuple[str]]): Pairs of classes that are each other's reversal.
        label_map (Path): File with the names of all classes.

    Returns:
        np.ndarray: True for clips that are recognized as the opposite class, bool, shape (M,).
    """
    partners = _partners(run.labels, opposites, label_map)
    recognized = run.hits & (partners >= 0)
    return (run.backwards.argmax(1) == partners)[recognized]


def summary(runs: Iterable[Run], models: Mapping) -> pd.DataFrame:
    """Means and deviations over seeds of all runs that share dataset, settings and split.

    Args:
        runs (Iterable[Run]): Runs of any datasets.
        models (Mapping): Model names by config.
    """
    rows = []
    for run in runs:
        config, changes = settings_of(run)
        changes = without_scale(changes)
        order = order_accuracies(run) if run.info['dataset'].startswith('utd') else {}
        keys = ('dataset', 'split', 'pixels', 'epochs', 'seed', *COSTS)
        own = {key: run.info[key] for key in keys}
        own.update(model=models.get(config, config), config=config, **run.accuracies, **order)
        rows.append(dict(own, changes=json.dumps(changes) if changes else ''))
    keys = ['dataset', 'model', 'config', 'changes', 'split', 'pixels', 'epochs']
    groups = pd.DataFrame(rows).sort_values([*keys, 'seed']).groupby(keys, sort=True)
    table = groups['seed'].agg(seeds=lambda seeds: ' '.join(map(str, seeds)))
    table = table.join(groups[[*METRICS, 'loss', *ORDER]].mean())
    table = table.join(groups[list(METRICS)].std().add_suffix('_std'))
    table = table.join(groups[['gmacs', 'params']].first())
    table['minutes'] = groups['minutes'].min()  # other runs shared the machine
    return table.reset_index()
