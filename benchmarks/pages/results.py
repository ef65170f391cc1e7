#!/usr/bin/env python3
"""Collect the results of finished runs, and write docs/results.md from what was collected.

    python -m benchmarks.pages.results WORK_DIR ... --records results/utd_mhad
    python -m benchmarks.pages.results

The first command leaves a small record of each run, the second makes the page and its pictures
from all records. Runs that are not finished, not tested, or of other data are named and left out.
"""

import argparse
import functools
import re
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from mmengine.config import Config

from benchmarks.ablations import ABLATIONS, BASES, OPTIONS, Ablation
from benchmarks.order_test import order_accuracies
from benchmarks.records.records import (
    Record,
    accuracies,
    collect_run,
    find_config,
    read_records,
    without_scale,
)
from benchmarks.records.runs import ReportError, markdown_table, read_run
from pan_mm.models.pan_ensemble import stream_configs

from .evidence import loss_rows, subject_rows

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / 'results' / 'utd_mhad'
RECORDS_MOTIONSHAPES = ROOT / 'results' / 'motionshapes'
CONFIGS = ROOT / 'configs' / 'recognition'
SEEDS = (0, 1, 2)
MODELS = {
    'TSN': 'tsn_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'TSM': 'tsm_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'TANet, ResNet-50': 'tanet_r50_1xb16-1x1x8-30e_utd-mhad-depth',
    'SlowOnly': 'slowonly_r18_1xb16-8x1-30e_utd-mhad-depth',
    'PAN RGB': 'pan-rgb_r18_1xb16-1x1x8-30e_utd-mhad-depth',
    'Differences': 'pan-difference_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN PA': 'pan-pa_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'Lite with differences': 'pan-lite-difference_r18_1xb16-4x1x8-30e_utd-mhad-depth',
    'PAN Lite after MotionShapes': (
        'pan-lite_motionshapes-pretrained-r18_1xb16-4x1x8-30e_utd-mhad-depth'
    ),
    'PAN Full': 'pan-full_r18_4x1x8_utd-mhad-depth',
    'PAN En': 'pan-en_r18_4x1x8_utd-mhad-depth',
}
MODELS_64 = {
    'TSN': 'tsn_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM': 'tsm_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM, 4 × 8 frames': 'tsm_r18_1xb16-1x1x8-4view-30e-64px_utd-mhad-depth',
    'TSM, 32 frames': 'tsm_r18_1xb16-1x1x32-30e-64px_utd-mhad-depth',
    "TSM with VAP's dropout": 'tsm-dropout_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'TSM with maximum': 'tsm-max_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'PAN RGB': 'pan-rgb_r18_1xb16-1x1x8-30e-64px_utd-mhad-depth',
    'Stack': 'pan-stack_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Differences': 'pan-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Signed differences': 'pan-signed-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA': 'pan-pa_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'Lite with differences': 'pan-lite-difference_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA, normalised': 'pan-pa-norm_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN PA, two scales': 'pan-pa-scales_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite, normalised': 'pan-lite-norm_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth',
    'TSM, RandAugment': 'tsm_r18_1xb16-randaugment-1x1x8-30e-64px_utd-mhad-depth',
    'PAN Lite, RandAugment': ('pan-lite_r18_1xb16-randaugment-4x1x8-30e-64px_utd-mhad-depth'),
    'PAN Full': 'pan-full_r18_4x1x8-64px_utd-mhad-depth',
    'PAN En': 'pan-en_r18_4x1x8-64px_utd-mhad-depth',
}
MODELS_R50 = {
    'TSN': 'tsn_r50_1xb16-1x1x8-30e-224px_utd-mhad-depth',
    'TSM': 'tsm_r50_1xb16-1x1x8-30e-224px_utd-mhad-depth',
    'TANet': 'tanet_r50_1xb16-1x1x8-30e-224px_utd-mhad-depth',
    'SlowOnly': 'slowonly_r50_1xb16-8x1-30e-224px_utd-mhad-depth',
    'PAN RGB': 'pan-rgb_r50_1xb16-1x1x8-30e-224px_utd-mhad-depth',
    'PAN PA': 'pan-pa_r50_1xb16-4x1x8-30e-224px_utd-mhad-depth',
    'PAN Lite': 'pan-lite_r50_1xb16-4x1x8-30e-224px_utd-mhad-depth',
}
MODELS_MOTIONSHAPES = {
    'PAN Lite': 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
    'TSM': 'tsm_r18_1xb16-1x1x8-4e_motionshapes-rgb',
    'TSN': 'tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb',
}
STREAMS = {'rgb': 'PAN RGB', 'pa': 'PAN PA', 'lite': 'PAN Lite'}
LABEL_MAP = ROOT / 'tools' / 'data' / 'utd_mhad' / 'label_map.txt'
PAIRS = (
    ('swipe left', 'swipe right'),
    ('draw circle clockwise', 'draw circle counter-clockwise'),
    ('sit to stand', 'stand to sit'),
)
HEADER = """<!-- Written by `python -m benchmarks.pages.results` from results.md.in and results;
edit those. -->
"""


class Result(NamedTuple):
    """What one run, or the fused streams of one seed, reached on the test split."""

    seed: int
    clips: list
    scores: np.ndarray
    backwards: Optional[np.ndarray]
    gmacs: float
    params: float
    minutes: float
    curve: list

    @property
    def labels(self) -> np.ndarray:
        return np.array([label for _, label in self.clips])

    @property
    def accuracies(self) -> dict:
        return accuracies(self.scores, self.labels)


def class_names() -> list:
    return LABEL_MAP.read_text(encoding='utf-8').splitlines()


def _result(record: Record) -> Result:
    order = sorted(range(len(record.clips)), key=lambda index: record.clips[index])
    return Result(
        record.info['seed'],
        [record.clips[index] for index in order],
        record.scores[order],
        None if record.backwards is None else record.backwards[order],
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
        [],
    )


def results_by_model(records: Sequence[Record], models: Mapping = MODELS) -> tuple:
    """Results on the test split of the configs as they are, by model, and what is missing.

    Args:
        records (Sequence[Record]): Of any runs.
        models (dict): Names of configs by model.

    Returns:
        tuple: ``{model: [Result]}`` by seed, and a text for each model that lacks runs.
    """
    found = {}
    for model, config in models.items():
        own = [r for r in records if r.info['config'] == config and not r.changes]
        own = [_result(record) for record in own if record.info['split'] == 'test']
        found[model] = sorted(own, key=lambda result: result.seed)
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


@functools.cache
def fused_streams(config: str) -> dict:
    """Weights of the streams that a config fuses; empty for a single network."""
    model = Config.fromfile(find_config(CONFIGS, config)).model
    if model.type != 'PANEnsemble':
        return {}
    return {name: weight for name, (_, weight, _) in stream_configs(model).items()}


def _seeds(results):
    return {result.seed for result in results}


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over seeds; of one seed only the value."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f'{mean:.1f}'
    return f'{mean:.1f} ± {statistics.stdev(values):.1f}'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main_table(found: dict) -> str:
    if not any(found.values()):
        return 'No runs yet.'
    head = ['model', 'seeds', 'top-1', 'top-5', 'mean class']
    head += ['GMACs', 'params, M', 'training, min']
    rows = []
    for model, results in found.items():
        if not results:
            rows.append([model, 'none yet', *[''] * 6])
            continue
        values = [result.accuracies for result in results]
        rows.append(
            [
                model,
                ', '.join(str(result.seed) for result in results),
                *(spread([v[key] for v in values]) for key in ('top1', 'top5', 'mean_class')),
                f'{results[0].gmacs:.2f}',
                f'{results[0].params:.2f}',
                f'{min(result.minutes for result in results):.1f}',  # less beside other work
            ]
        )
    return _table(head, rows)


def order_table(found: dict) -> str:
    names = class_names()
    pairs = [tuple(names.index(name) for name in pair) for pair in PAIRS]
    keys = ('forwards', 'backwards', 'pairs', 'as_partner', 'as_before')
    head = ['model', 'seeds', 'forwards', 'backwards', 'pairs', 'as partner', 'as before']
    rows = []
    for model, results in found.items():
        results = [result for result in results if result.backwards is not None]
        if not results:
            rows.append([model, 'none yet', *[''] * len(keys)])
            continue
        values = [order_accuracies(r.scores, r.backwards, r.labels, pairs) for r in results]
        seeds = ', '.join(str(result.seed) for result in results)
        rows.append([model, seeds, *(spread([v[key] for v in values]) for key in keys)])
    return _table(head, rows)


def ablation_name(changes: dict, known: Sequence[Ablation] = ABLATIONS) -> str:
    """Of changed settings the ablation that they are, or else what they are."""
    for ablation in known:
        if ablation.options == changes:
            return ablation.name
    return ', '.join(
        f'without `{key}`' if value is None else f'`{key}={value}`'
        for key, value in changes.items()
    )


def ablation_table(records: Sequence[Record]) -> str:
    """A row for each way in which runs differ from their config, beside the config itself."""
    order = ['', *MODELS, *(ablation.name for ablation in (*ABLATIONS, *OPTIONS))]
    models = {config: model for model, config in MODELS.items()}
    models.update({config: model for model, config in MODELS_MOTIONSHAPES.items()})
    models.update({config: model for model, config in MODELS_64.items()})
    models.update({config: f'{model}, ResNet-50' for model, config in MODELS_R50.items()})
    groups, varied = {}, set()
    for record in records:
        info, changes = record.info, without_scale(record.changes)
        place = info['split'], info['pixels'], info['epochs']
        model = models.get(info['config'], info['config'])
        known = (*ABLATIONS, *OPTIONS) if info['config'] in BASES.values() else OPTIONS
        variant = ablation_name(changes, known) if changes else ''
        name = f'{model}, {variant}' if changes else model
        rank, own = (order.index(p) if p in order else len(order) for p in (model, variant))
        groups.setdefault((*place, rank, own, name), []).append(record)
        if record.changes or info['split'] == 'dev':
            varied.add((*place, rank))
    rows = []
    for key in sorted(groups):
        split, pixels, epochs, rank, _, name = key
        own = sorted(groups[key], key=lambda record: record.info['seed'])
        if (split, pixels, epochs, rank) in varied:
            rows.append(
                [
                    name,
                    split,
                    str(pixels),
                    str(epochs),
                    ', '.join(str(record.info['seed']) for record in own),
                    spread([record.info['top1'] for record in own]),
                    spread([record.info['mean_class'] for record in own]),
                    f'{own[0].info["gmacs"]:.2f}',
                ]
            )
    if not rows:
        return 'No runs yet.'
    head = ['variant', 'split', 'pixels', 'epochs', 'seeds', 'top-1', 'mean class', 'GMACs']
    return _table(head, rows)


def ablation_commands(ablations: Sequence[Ablation] = ABLATIONS) -> str:
    """The options that make each ablation, for a reader to copy."""
    return _table(
        ['variant', '`--cfg-options`'],
        [[ablation.name, f'`{ablation.cfg_options()}`'] for ablation in ablations],
    )


def runs_table(records: Sequence[Record]) -> str:
    """Where each number comes from."""
    if not records:
        return 'No runs yet.'
    rows = []
    for record in records:
        info, environment = record.info, record.info['environment']
        place = record.folder.relative_to(ROOT) if record.folder.is_relative_to(ROOT) else None
        name = f'[{record.folder.name}](../{place.as_posix()})' if place else record.folder.name
        machine = environment.get('gpu') or environment.get('processor') or environment['device']
        threads = environment.get('threads')
        machine += f', {threads} thread(s)' if threads else ''
        commands = '; '.join(f'`{command}`' for command in info['commands'])
        rows.append(
            [name, f'{info["top1"]:.1f}', f'{info["train_minutes"]:.1f}', machine, commands]
        )
    return _table(['record', 'top-1', 'min', 'machine', 'command'], rows)


def not_run(missing: Sequence[str]) -> str:
    return f'Not run yet: {"; ".join(missing)}.' if missing else ''


def best_model(found: dict) -> Optional[str]:
    """The model whose confusions are shown: of those with runs the largest of the paper's."""
    return next((model for model in reversed(MODELS) if found[model]), None)


def page(
    template: str,
    records: Sequence[Record],
    motionshapes: Sequence[Record],
    problems: Sequence[str],
) -> str:
    """Text of docs/results.md, of records of UTD-MHAD and of MotionShapes."""
    found, missing = results_by_model(records)
    found_64, missing_64 = results_by_model(records, MODELS_64)
    found_r50, missing_r50 = results_by_model(records, MODELS_R50)
    best = best_model(found)
    picture = '![{}](results/{}.png)' if best else 'No runs yet.'
    sections = {
        'MAIN': main_table(found),
        'MISSING': not_run(missing),
        'SUBJECTS': _table(*subject_rows(found)),
        'LOSSES': _table(*loss_rows(found)),
        'SMALL': main_table(found_64),
        'MISSING_SMALL': not_run(missing_64) if any(found_64.values()) else '',
        'R50': main_table(found_r50),
        'MISSING_R50': not_run(missing_r50) if any(found_r50.values()) else '',
        'PROBLEMS': '\n'.join(f'- Left out: {problem}' for problem in problems),
        'ORDER': order_table(found),
        'CLASSES': picture.format('accuracy of each class', 'classes'),
        'CONFUSION': picture.format(f'confusion matrix of {best}', 'confusion'),
        'CURVES': picture.format('training loss', 'curves'),
        'ABLATIONS': ablation_table(records),
        'ABLATIONS_MOTIONSHAPES': ablation_table(motionshapes),
        'ABLATION_COMMANDS': ablation_commands(),
        'OPTION_COMMANDS': ablation_commands(OPTIONS),
        'RUNS': runs_table([*records, *motionshapes]),
    }
    text = re.sub(r'^@(\w+)@$', lambda match: sections[match.group(1)], template, flags=re.M)
    return HEADER + re.sub(r'\n{3,}', '\n\n', text)


def zoo_accuracies(records: Sequence[Record]) -> dict:
    """Of each config with runs its top-1 / top-5 as model_zoo.md shows them."""
    texts = {}
    for models in (MODELS, MODELS_64, MODELS_R50, MODELS_MOTIONSHAPES):
        for model, results in results_by_model(records, models)[0].items():
            values = [result.accuracies for result in results]
            if values:
                texts[models[model]] = ' / '.join(
                    spread([v[key] for v in values]) for key in ('top1', 'top5')
                )
    return texts


def plot_classes(found: dict, figure) -> None:
    """Accuracy of each class and model, mean over seeds, as a table of colours."""
    names = class_names()
    models = [model for model, results in found.items() if results]
    values = np.array([np.mean([_recalls(r) for r in found[m]], axis=0) for m in models]).T
    order = np.argsort(values.mean(axis=1))[::-1]
    figure.set_size_inches(2.6 + 0.75 * len(models), 7.2)
    axes = figure.subplots()
    _heat(axes, values[order], fontsize=8, aspect='auto')
    labels = [textwrap.fill(model, 12) for model in models]
    axes.set_xticks(range(len(models)), labels, fontsize=8)
    axes.set_yticks(range(len(names)), [names[index] for index in order], fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)


def _heat(axes, percent, fontsize, least=0, aspect='equal'):
    """Cells coloured by their percent, with the numbers from ``least`` on."""
    axes.imshow(percent, cmap='Blues', vmin=0, vmax=100, aspect=aspect)
    for (row, column), value in np.ndenumerate(percent):
        if value >= least:
            colour = 'white' if value > 55 else 'black'
            style = dict(fontsize=fontsize, color=colour)
            axes.text(column, row, f'{value:.0f}', ha='center', va='center', **style)


def _recalls(result):
    hits = result.scores.argmax(1) == result.labels
    classes = range(result.scores.shape[1])
    return [100 * hits[result.labels == label].mean() for label in classes]


def plot_confusion(found: dict, figure) -> None:
    """Confusions of the best model in percent of the clips of a class, all seeds together."""
    names = class_names()
    matrix = np.zeros((len(names), len(names)))
    for result in found[best_model(found)]:
        np.add.at(matrix, (result.labels, result.scores.argmax(1)), 1)
    shares = 100 * matrix / matrix.sum(axis=1, keepdims=True)
    figure.set_size_inches(8.6, 8)
    axes = figure.subplots()
    _heat(axes, shares, fontsize=6, least=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel('recognized as')
    axes.set_ylabel('is')
    axes.set_title(f'{best_model(found)}, percent of a class', fontsize=10)


def plot_curves(found: dict, figure) -> None:
    """Training loss of every run against epochs."""
    figure.set_size_inches(7, 3.6)
    axes = figure.subplots()
    shown = [model for model, results in found.items() if any(r.curve for r in results)]
    for number, model in enumerate(shown):
        for index, result in enumerate(found[model]):
            last = result.curve[-1]
            epochs = [line['step'] / last['step'] * last['epoch'] for line in result.curve]
            losses = [line['loss'] for line in result.curve]
            label = model if index == 0 else None
            axes.plot(epochs, losses, color=f'C{number}', linewidth=1, alpha=0.8, label=label)
    axes.set_xlabel('epoch')
    axes.set_ylabel('training loss')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


PICTURES = {'classes': plot_classes, 'confusion': plot_confusion, 'curves': plot_curves}


def write_pictures(records: Sequence[Record], folder: Path) -> None:
    """Draw the pictures into ``folder``; without runs there are none."""
    from matplotlib.figure import Figure

    for name in PICTURES:
        (folder / f'{name}.png').unlink(missing_ok=True)
    found, _ = results_by_model(records)
    if best_model(found):
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in PICTURES.items():
            figure = Figure(layout='constrained')
            plot(found, figure)
            figure.savefig(folder / f'{name}.png', dpi=100, metadata=dict(Software=None))


def parse_args(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='*', help='folders of runs, trained and tested')
    parser.add_argument('--records', help='folder that gets a record of each run')
    parser.add_argument('--machine', help='what they ran on, such as "2 cores of ..."')
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if docs/results.md is stale'
    )
    args = parser.parse_args(argv)
    if args.records and not args.work_dirs:
        parser.error('--records needs the work_dirs of runs')
    return args


def collect(args):
    """From work_dirs to records and a table; returns what was left out."""
    runs, problems = [], []
    for work_dir in args.work_dirs:
        try:
            runs.append(read_run(work_dir))
            if args.records:
                print(collect_run(work_dir, args.records, CONFIGS, args.machine))
        except (ReportError, OSError) as error:
            problems.append(str(error))
    if runs:
        print(markdown_table(runs))
    return problems


def write_page(check):
    """docs/results.md and its pictures; returns what was left out."""
    (records, problems), (motionshapes, others) = (
        read_records(folder, CONFIGS) for folder in (RECORDS, RECORDS_MOTIONSHAPES)
    )
    problems += others
    docs = ROOT / 'docs'
    template = (docs / 'results.md.in').read_text(encoding='utf-8')
    text = page(template, records, motionshapes, problems)
    path = docs / 'results.md'
    if check:
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            sys.exit(f'error: {path} is stale; run python -m benchmarks.pages.results')
        return []
    path.write_text(text, encoding='utf-8')
    write_pictures(records, docs / 'results')
    return problems


def main(argv: Optional[list] = None) -> None:
    args = parse_args(argv)
    problems = collect(args) if args.work_dirs else write_page(args.check)
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    if problems:
        sys.exit(1)


if __name__ == '__main__':
    main()
