"""Group runs by model, and compare models: intervals over people and splits, and chance."""

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
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
    return Run(
        dict(runs[0].info, **costs, loss=None, changes={}),
        runs[0].clips,
        runs[0].labels,
        np.tensordot(share, [run.scores for run in runs], 1),
        np.tensordot(share, [run.backwards for run in runs], 1)
        if all(run.backwards is not None for run in runs)
        else None,
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


def bootstrap(values: Sequence[float], resamples: int = 10_000) -> tuple:
    """95 % percentile interval of the mean, values drawn again with seed 0."""
    values = np.asarray(values)
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(1), (2.5, 97.5))
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


def by_subject(runs: Iterable[Run]) -> dict:
    """Percent recognized of the clips of each person, mean over runs.

    The clips of UTD-MHAD name the person: ``a3_s2_t1_depth.mp4``.
    """
    shares: dict = {}
    for run in runs:
        subjects = np.array([int(re.search(r'_s(\d+)_', clip)[1]) for clip in run.clips])
        for subject in np.unique(subjects).tolist():
            shares.setdefault(subject, []).append(100 * run.hits[subjects == subject].mean())
    return {subject: float(np.mean(values)) for subject, values in sorted(shares.items())}


class Difference(NamedTuple):
    """The lead of one model over another, in points of top-1.

    Attributes:
        points (dict[str, float]): By subject or split.
        mean (float): Over them.
        t (tuple[float]): 95 % interval of the mean by Student's t.
        bootstrap (tuple[float]): The same by drawing subjects or splits again.
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
        unit (str): 'subject' or 'split'.

    Returns:
        Difference: None where fewer than two subjects or splits can be compared.
    """
    pairs = paired(ones, others)
    if unit == 'subject':
        first, second = by_subject(ones), by_subject(others)
        points = {f'subject {s}': first[s] - second[s] for s in first if s in second}
    else:
        points = _by_split(pairs)
    if len(points) < 2 or not pairs:
        return None
    values = list(points.values())
    chance = max(mcnemar(*pair) for pair in pairs)
    return Difference(points, np.mean(values), interval(values), bootstrap(values), chance)


def _by_split(pairs):
    points: dict = {}
    for one, other in pairs:
        lead = one.accuracies['top1'] - other.accuracies['top1']
        points.setdefault(one.info['split'], []).append(lead)
    return {split: float(np.mean(own)) for split, own in points.items()}


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
    names = read_label_map(LABEL_MAP)
    pairs = [tuple(map(names.index, pair)) for pair in OPPOSITES]
    partner = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    of_pairs = np.isin(run.labels, list(partner))
    partners = np.array([partner.get(label, -1) for label in run.labels.tolist()])
    answers = run.backwards.argmax(1)
    shares = dict(
        backwards=answers == run.labels,
        pairs=run.hits[of_pairs],
        as_partner=(answers == partners)[of_pairs],
        as_before=(answers == run.labels)[of_pairs],
    )
    return {name: float(100 * hits.mean()) for name, hits in shares.items()}


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
