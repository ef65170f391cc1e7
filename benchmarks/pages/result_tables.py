"""The tables of docs/results.md, and the notes that go with them."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.ablations import ABLATIONS, BASES, OPTIONS, OPTIONS_JHMDB, Ablation
from benchmarks.compared import (
    CANDIDATES_64,
    MODELS,
    MODELS_64,
    MODELS_JHMDB,
    MODELS_MOTIONSHAPES,
    MODELS_R50,
    PAIRS,
    ROOT,
    class_names,
)
from benchmarks.markdown import table
from benchmarks.order_test import order_accuracies
from benchmarks.records.by_model import Result, changes_from
from benchmarks.records.records import Record
from benchmarks.records.settings import without_scale

NONE = 'No runs yet.'


def spread(values: Iterable[float]) -> str:
    """Mean and sample standard deviation over seeds; of one seed only the value."""
    values = list(values)
    deviation = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.1f}{deviation}'


def spreads(found: Sequence[dict], keys: Sequence[str]) -> list:
    return [spread(values[key] for values in found) for key in keys]


def seeds_of(results: Sequence[Result]) -> str:
    return ', '.join(str(result.seed) for result in results)


def main_table(found: dict) -> str:
    """What each model reached and cost; ``found`` is of ``results_by_model``."""
    if not any(found.values()):
        return NONE
    head = ['model', 'seeds', 'top-1', 'top-5', 'mean class']
    head += ['GMACs', 'params, M', 'training, min']
    rows = []
    for model, results in found.items():
        if not results:
            rows.append([model, 'none yet', *[''] * 6])
            continue
        accuracies = [result.accuracies for result in results]
        cost = results[0].gmacs, results[0].params
        minutes = min(result.minutes for result in results)  # others shared the machine
        rows.append([model, seeds_of(results)])
        rows[-1] += spreads(accuracies, ('top1', 'top5', 'mean_class'))
        rows[-1] += [*(f'{value:.2f}' for value in cost), f'{minutes:.1f}']
    return table(head, rows)


def splits_table(found: Mapping) -> str:
    """Top-1 of each model on several splits, and its mean where there are all of them.

    Args:
        found (dict): From ``results_by_model`` for each name of a split.
    """
    rows = []
    for model in next(iter(found.values())):
        results = [of_split[model] for of_split in found.values()]
        if not any(results):
            continue
        values = [[result.accuracies['top1'] for result in own] for own in results]
        cells = [spread(own) if own else '' for own in values]
        means = [statistics.mean(own) for own in values if own]
        cells.append(f'{statistics.mean(means):.1f}' if all(values) else '')
        first = next(own for own in results if own)[0]
        seeds = ', '.join(map(str, sorted({r.seed for own in results for r in own})))
        rows.append([model, seeds, *cells, f'{first.gmacs:.2f}', f'{first.params:.2f}'])
    head = ['model', 'seeds', *found, 'mean', 'GMACs', 'params, M']
    return table(head, rows) if rows else NONE


def run_table(runs: list) -> str:
    """From :func:`benchmarks.records.runs.read_run`, in percent of the test split."""
    head = ['config', 'top-1', 'top-5', 'mean class', 'training, min']
    keys = ('top1', 'top5', 'mean_class', 'train_minutes')
    return table(head, ([run['config'], *(f'{run[key]:.1f}' for key in keys)] for run in runs))


def order_table(found: dict) -> str:
    """Who reads the order of time."""
    names = class_names()
    pairs = [tuple(names.index(name) for name in pair) for pair in PAIRS]
    keys = ('forwards', 'backwards', 'pairs', 'as_partner', 'as_before')
    rows = []
    for model, results in found.items():
        results = [result for result in results if result.backwards is not None]
        values = [order_accuracies(r.scores, r.backwards, r.labels, pairs) for r in results]
        shares = spreads(values, keys) if values else [''] * len(keys)
        rows.append([model, seeds_of(results) or 'none yet', *shares])
    return table(['model', 'seeds', *(key.replace('_', ' ') for key in keys)], rows)


def ablation_name(changes: dict, known: Sequence[Ablation] = ABLATIONS) -> str:
    """The ablation that changed settings are, or else the settings."""
    for ablation in known:
        if ablation.options == changes:
            return ablation.name
    return ', '.join(
        f'without `{key}`' if value is None else f'`{key}={value}`'
        for key, value in changes.items()
    )


def ablation_table(records: Sequence[Record]) -> str:
    """A row for each way in which runs differ from their config, beside the config itself.

    † marks settings that met the test split without a run on the split that settings are chosen on.
    """
    options = *OPTIONS, *OPTIONS_JHMDB
    order = ['', *MODELS, *(ablation.name for ablation in (*ABLATIONS, *options))]
    plain = MODELS, MODELS_MOTIONSHAPES, MODELS_64, CANDIDATES_64, MODELS_JHMDB
    models = {config: model for names in plain for model, config in names.items()}
    models.update({config: f'{model}, ResNet-50' for model, config in MODELS_R50.items()})
    groups, varied, chosen = {}, set(), set()
    for record in records:
        info = record.info
        same = [config for config in models if not changes_from(config, record)]
        config, changes = (same[0], {}) if same else (info['config'], record.changes)
        place = info['split'], info['pixels'], info['epochs']
        model = models.get(config, config)
        known = (*ABLATIONS, *options) if config in BASES.values() else options
        kept = without_scale(changes)
        variant = ablation_name(kept, known) if kept else ''
        rank, own = (order.index(p) if p in order else len(order) for p in (model, variant))
        name = f'{model}, {variant}' if variant else model
        groups.setdefault((*place, rank, own, name), []).append(record)
        if changes or info['split'] != 'test':
            varied.add((*place, rank))
        if info['split'] == 'dev' or not variant:
            chosen.add(name)
    rows = []
    for (*place, rank, _, name), group in sorted(groups.items(), key=lambda item: item[0]):
        if (*place, rank) in varied:
            group.sort(key=lambda record: record.info['seed'])
            seeds = ', '.join(str(record.info['seed']) for record in group)
            reached = spreads([record.accuracies for record in group], ('top1', 'mean_class'))
            mark = '' if name in chosen else ' †'
            rows.append([name + mark, *place, seeds, *reached, f'{group[0].info["gmacs"]:.2f}'])
    head = ['variant', 'split', 'pixels', 'epochs', 'seeds', 'top-1', 'mean class', 'GMACs']
    return table(head, rows) if rows else NONE


def ablation_commands(ablations: Sequence[Ablation] = ABLATIONS) -> str:
    """The options that make each ablation, for a reader to copy."""
    rows = ([ablation.name, f'`{ablation.cfg_options()}`'] for ablation in ablations)
    return table(['variant', '`--cfg-options`'], rows)


def runs_table(records: Sequence[Record]) -> str:
    """Where each number comes from."""
    rows = []
    for record in records:
        info, environment = record.info, record.info['environment']
        name = record.path.stem
        if record.path.is_relative_to(ROOT):
            name = f'[{name}](../{record.path.relative_to(ROOT).as_posix()})'
        machine = environment.get('gpu') or environment.get('processor') or environment['device']
        if threads := environment.get('threads'):
            machine += f', {threads} thread(s)'
        commands = '; '.join(f'`{command}`' for command in info['commands'])
        figures = f'{record.accuracies["top1"]:.1f}', f'{info["train_minutes"]:.1f}'
        rows.append([name, *figures, machine, commands])
    return table(['record', 'top-1', 'min', 'machine', 'command'], rows) if rows else NONE


def ties(records: Sequence[Record]) -> str:
    """Which records are of rounded scores, and in which of them a tie decides a clip."""
    rounded = [record for record in records if 'score_digits' in record.info]
    if not rounded:
        return ''
    tied = []
    for record in rounded:
        best = record.scores == record.scores.max(1, keepdims=True)
        if (best.sum(1) > 1)[best[np.arange(len(best)), record.labels]].any():
            tied.append(f'`{record.path.stem}`')
    return (
        f'The scores of {len(rounded)} of the {len(records)} runs were rounded to five digits when '
        'they were recorded; those of later runs are exact. Where two classes of a clip tie, '
        'the one listed first counts, in every number of this page. A tie of the right class '
        f'decides a clip in {" and ".join(tied) or "none of them"}.'
    )


def not_run(missing: Sequence[str]) -> str:
    return f'Not run yet: {"; ".join(missing)}.' if missing else ''
