"""Tables of the documents, each made from the files in results/.

A document has a table between its mark, ``<!-- table: NAME -->``, and ``<!-- end -->``.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mmengine import load

from benchmarks import compared
from benchmarks.evidence import (
    differences,
    first_classes,
    fused_streams,
    mean_top1,
    pool,
    runs_by_model,
    summary,
)
from benchmarks.markdown import table
from benchmarks.runs import METRICS, RESULTS, Run, read_runs

PERFORMANCE = RESULTS / 'performance'
UTD = 'utd-mhad-depth'
# Settings in which models are compared: dataset, models, split and epochs.
SETTINGS = {
    '112 px': (UTD, compared.MODELS),
    '64 px': (UTD, compared.MODELS_64),
    '64 px, exchanged': (UTD, compared.MODELS_64, 'swap'),
    '64 px, 60 epochs': (UTD, compared.MODELS_64, 'test', 60),
    '64 px, 120 epochs': (UTD, compared.MODELS_64, 'test', 120),
    'ImageNet weights': (UTD, compared.MODELS_IMAGENET),
    'MotionShapes': ('motionshapes-rgb', compared.MODELS_MOTIONSHAPES),
    **{
        name: ('jhmdb-rgb', compared.MODELS_JHMDB, split)
        for name, split in compared.SPLITS_JHMDB.items()
    },
    **{
        name: ('egogest11-rgb', compared.MODELS_EGOGEST, split)
        for name, split in compared.SPLITS_EGOGEST.items()
    },
}
FOLDS = 'EgoGestAR, each fold'
JOINED = {
    '64 px, both splits': ('64 px', '64 px, exchanged'),
    'JHMDB': tuple(compared.SPLITS_JHMDB),
    FOLDS: tuple(compared.SPLITS_EGOGEST),
}
# Those that leads are computed in, and the units that the differences are between.
UNITS = {
    '64 px, both splits': 'subject',
    '112 px': 'subject',
    '64 px, 120 epochs': 'subject',
    'ImageNet weights': 'subject',
    'JHMDB': 'split',
}
# Rows of the table of leads in results.md, apart from those over TSM.
LEADS = (
    ('64 px, both splits', 'PAN PA', 'PAN RGB'),
    ('64 px, both splits', 'PAN PA', 'Differences'),
    ('64 px, both splits', 'PAN PA', 'Signed differences'),
    ('JHMDB', 'PAN PA + TSN', 'TSM'),
    ('JHMDB', 'PAN PA + TSN', 'PAN PA'),
)


all_runs = functools.cache(read_runs)


def runs_of(dataset: str) -> list:
    """Runs of a dataset, such as 'jhmdb-rgb'."""
    return [run for run in all_runs() if run.info['dataset'] == dataset]


@functools.cache
def found(name: str) -> dict:
    """Runs by model in one of the settings that are compared."""
    if name in JOINED:
        parts = [found(part) for part in JOINED[name]]
        return {model: [run for part in parts for run in part[model]] for model in parts[0]}
    if name in compared.CLASSES_EGOGEST:
        return {model: pool(runs) for model, runs in of_classes(name).items()}
    dataset, *options = SETTINGS[name]
    return runs_by_model(runs_of(dataset), *options)


def of_classes(name: str) -> dict:
    """Runs of seeds that have all folds of EgoGestAR, by model, with only the first classes."""
    count, by_model = compared.CLASSES_EGOGEST[name], {}
    for model, runs in found(FOLDS).items():
        folds = Counter(run.seed for run in runs)
        whole = [run for run in runs if folds[run.seed] == len(compared.SPLITS_EGOGEST)]
        by_model[model] = [first_classes(run, count) for run in whole]
    return by_model


@functools.cache
def leads() -> dict:
    """Differences between models by setting and names."""
    gestures = {name: ('scene', of_classes(name)) for name in compared.CLASSES_EGOGEST}
    return {
        **differences({name: (unit, found(name)) for name, unit in UNITS.items()}),
        **differences(gestures, compared.PAIRS_EGOGEST),
    }


def spread(values: Iterable[float]) -> str:
    """Mean and sample standard deviation over seeds; of one seed only the value."""
    values = list(values)
    deviation = f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
    return f'{np.mean(values):.1f}{deviation}'


def spreads(runs: Sequence[Run], keys: Sequence[str]) -> list:
    """:func:`spread` of some accuracies."""
    return [spread(run.accuracies[key] for run in runs) for key in keys]


def signed(*points: float) -> str:
    """Points with their sign, or the two ends of an interval."""
    return ' … '.join(f'{value:+.1f}' for value in points).replace('-', '−')


def motionshapes() -> str:
    """The models of the embedded dataset, one run each."""
    rows = []
    for run, *_ in found('MotionShapes').values():
        values = *(run.accuracies[key] for key in METRICS), run.info['minutes']
        rows.append([run.info['config'], *(f'{value:.1f}' for value in values)])
    return table(['config', 'top-1', 'top-5', 'mean class', 'training, min'], rows)


def own_recipe() -> str:
    """Test accuracy of models trained for the same time on ten clips a class."""
    rows = pd.read_csv(RESULTS / 'own_recipe' / 'own_recipe.csv')
    cells = rows['test_accuracy'].map('{:.1f}'.format) + ' of ' + rows['test_clips'].astype(str)
    keys = ['draw', 'budget', 'model']
    columns = rows.assign(cell=cells).pivot(index=keys, columns='dataset', values='cell').fillna('')
    datasets = rows['dataset'].unique()
    body = ([*key[::-1], *row] for key, row in zip(columns.index, columns[datasets].values))
    return table(['model', 'core-seconds', 'draw', *datasets], body)


def accuracy() -> str:
    """Top-1 of each model on UTD-MHAD in three settings, and its cost."""
    columns = [found(name) for name in ('112 px', '64 px', '64 px, exchanged')]
    rows = []
    for model in dict.fromkeys(model for column in columns for model in column):
        cells = [column.get(model, []) for column in columns]
        costs = [runs[0].info['gmacs'] for runs in cells[:1] if runs]
        rows.append([model, *(spreads(runs, ['top1'])[0] if runs else '' for runs in cells)])
        rows[-1].append(f'{costs[0]:.1f}' if costs else '')
    return table(['model', '112 px', '64 px', 'exchanged', 'GMACs'], rows)


def lead_table() -> str:
    """The leads that results.md speaks of."""
    rows = []
    over_tsm = [(setting, model, 'TSM') for setting in UNITS for model in ('PAN PA', 'PAN Lite')]
    for key in (*over_tsm, *LEADS):
        own, (setting, one, other) = leads()[key], key
        cells = signed(own.mean), signed(*own.t), signed(*own.bootstrap), f'{own.mcnemar_p:.2g}'
        rows.append([setting, f'{one} − {other}', *cells])
    head = ['setting', 'difference', 'mean', '95 %, t', '95 %, bootstrap', "McNemar's p"]
    return table(head, rows)


def jhmdb() -> str:
    """Top-1 of each model on three splits of JHMDB."""
    columns = [found(name) for name in compared.SPLITS_JHMDB]
    rows = []
    for model in compared.MODELS_JHMDB:
        runs = [column[model] for column in columns]
        if not all(runs):
            continue
        values = [mean_top1(own) for own in runs]
        cost = runs[0][0].info['gmacs'], runs[0][0].info['params']
        rows.append([model, *(f'{value:.1f}' for value in (*values, np.mean(values)))])
        rows[-1] += [f'{value:.2f}' for value in cost]
    return table(['model', *compared.SPLITS_JHMDB, 'mean', 'GMACs', 'params, M'], rows)


def summary_table() -> pd.DataFrame:
    """All runs, summed up over seeds, ensembles included."""
    groups = [models for _, models, *_ in SETTINGS.values()]
    groups.append(compared.CANDIDATES_64)
    models = {config: model for group in groups for model, config in group.items()}
    models.update(dict.fromkeys(compared.ATTENTION, 'PAN Lite, PA as attention'))
    runs = list(all_runs())
    for name, (_, configs, *_) in SETTINGS.items():
        for model, config in configs.items():
            if fused_streams(config):
                runs += [
                    dataclasses.replace(run, info=dict(run.info, config=config))
                    for run in found(name)[model]
                ]
    return summary(runs, models)


def differences_table() -> pd.DataFrame:
    """All differences between models."""
    return pd.DataFrame(
        dict(
            setting=setting,
            model=one,
            other=other,
            mean=own.mean,
            t_low=own.t[0],
            t_high=own.t[1],
            bootstrap_low=own.bootstrap[0],
            bootstrap_high=own.bootstrap[1],
            mcnemar_p=float(f'{own.mcnemar_p:.2g}'),
            points='; '.join(f'{unit} {points:+.1f}' for unit, points in own.points.items()),
        )
        for (setting, one, other), own in leads().items()
    )


def read_report(name: str, folder: Path = PERFORMANCE) -> dict:
    """Read a result file of a benchmark."""
    return load(folder / f'{name}.json')


RATES = {'': 'frames_per_second', ', queued': 'queued_frames_per_second'}


def motion() -> str:
    """Frames per second of each motion cue at 224 × 224, on each machine and in each dtype.

    Queued calls, which the host does not delay, have rows of their own.
    """
    rates: dict = {}
    for path in sorted(PERFORMANCE.glob('motion_*.json')):
        report = load(path)
        device = report['environment']['device'].partition(' Processor')[0].replace('(R)', '')
        for result in sorted(report['results'], key=lambda result: result['threads']):
            if (result['width'], result['height']) == (224, 224):  # the most threads count
                own = {
                    row['method'] + suffix: row[key]
                    for row in result['methods']
                    for suffix, key in RATES.items()
                    if key in row
                }
                rates[f'{device}, {result["dtype"]}'] = own
    methods = dict.fromkeys(method for column in rates.values() for method in column)
    rows = (
        [method, *(f'{own[method]:,.0f}' if method in own else '' for own in rates.values())]
        for method in methods
        if not method.endswith(('plain norm', 'compiled'))
    )
    return table(['frames/s', *rates], rows)


def recognizer() -> str:
    """Speed and memory of whole recognizers."""
    report = read_report('recognizer_epyc-2-cores')
    inference = pd.DataFrame(report['inference'])
    training = pd.DataFrame(report['training']).set_index(['model', 'variant'])
    best = inference.groupby(['model', 'variant'])['clips_per_second'].max()
    rows = []
    for name, model in report['models'].items():
        clip, step = model['clip'], training.loc[(name, 'plain')]
        frames = clip[2] if len(clip) == 5 else clip[0]
        speeds = best[name, 'plain'], best[name, 'optimized'], step['per_second']
        rows.append([name, frames, f'{model["parameters"] / 1e6:.1f}'])
        rows[-1] += [*(f'{speed:.3g}' for speed in speeds), f'{step["peak_mbytes"]:.0f}']
    head = ['model', 'frames', 'params, M', 'clips/s', 'optimized', 'training steps/s', 'MiB']
    return table(head, rows)


def pipeline() -> str:
    """The way from a video file to the model's input."""
    rows = (
        (
            name,
            f'{row["ms"]:.0f}',
            f'{row["stages_ms"]["decode"]:.0f}',
            f'{row["stages_ms"]["collate, move, normalize"]:.0f}',
            f'{row["videos_per_second"]:.1f}',
            f'{row["times_stock"]:.2f}',
        )
        for name, row in read_report('pipeline_epyc-2-cores')['pipelines'].items()
    )
    head = ('pipeline', 'ms', 'of it decoding', 'normalizing', 'videos/s', '× stock')
    return table(head, rows)


def stream() -> str:
    """Latency of each model behind a camera."""
    rows = [
        [model.partition('_')[0], model.rpartition('_')[2], variant]
        + [f'{figures["latency_ms"][key]:.0f}' for key in ('p50', 'p95', 'max')]
        + [figures['dropped']]
        for model, variants in read_report('stream_epyc-2-cores')['models'].items()
        for variant, figures in variants.items()
    ]
    return table(['model', 'dataset', '', 'median, ms', '95 %', 'worst', 'dropped'], rows)


def ray() -> str:
    """Predictions on a Ray cluster beside one process per core."""
    report = read_report('ray')
    names = dict(motionshapes='MotionShapes, 64 × 64', real='real files')
    rows = [
        (
            name,
            f'{own["inputs"]:,}',
            f'{own["inputs"] / own["seconds_processes"]:.1f}',
            f'{own["inputs"] / own["seconds_ray"]:.1f}',
            f'{100 * own["overhead"]:+.0f} %'.replace('-', '−'),
            f'{own["mib_third_quarter"]:,.0f}, {own["mib_last_quarter"]:,.0f}',
        )
        for name, own in ((names[key], report[key]) for key in names)
    ]
    head = ('videos', 'number', 'processes, videos/s', 'Ray, videos/s', 'time', 'memory, MiB')
    return table(head, rows)


def ray_stages() -> str:
    """Stages of a prediction by themselves and together."""
    own = read_report('ray')['stages']
    rows = [
        ('only decoding, one core', f'{own["decoded_per_second"]:.1f}'),
        ('the same, short side of 144 pixels', f'{own["decoded_per_second_smaller"]:.1f}'),
        ('only the model, one core', f'{own["recognized_per_second"]:.1f}'),
        ('both on Ray, a core each', f'{own["inputs"] / own["seconds"]:.1f}'),
        ('both in turn, computed', f'{own["inputs"] / own["seconds_in_turn"]:.1f}'),
    ]
    return table(('real files', 'videos/s'), rows)


def ray_costs() -> str:
    """Hours and cores for many clips, computed."""
    costs = read_report('ray')['costs']
    head = ('GPUs', 'clips', f'hours at {costs["gpu_clips_per_second"]:,.0f} clips/s')
    rows = (
        (
            row['gpus'],
            f'{row["clips"]:,}',
            f'{row["hours"]:,.2g}' if row['hours'] < 100 else f'{row["hours"]:,.0f}',
            f'{row["cores"]:,.0f}',
            f'{row["cores_smaller"]:,.0f}',
            f'{row["core_hours"]:,.0f}',
        )
        for row in costs['rows']
    )
    return table((*head, 'cores that decode', 'of smaller files', 'core-hours'), rows)


def int8() -> str:
    """Accuracy, speed and size with eight bits."""
    report = read_report('int8_xeon-2-cores')
    rows = []
    for name, own in report['figures'].items():
        size = report['mib'].get(name, '')
        rows.append([name, f'{own["top1"]:.1f}', f'{own["median_ms"]:.1f}', size])
    return table(['', 'top-1', 'ms', 'MiB'], rows)


def reliability() -> str:
    """Outcome of the long trials."""
    found = read_report('reliability', RESULTS)
    kills, serve, stream = (found[key] for key in ('kills', 'serve', 'stream'))
    total = serve['rounds'] * serve['requests']
    served = sum(count for key, count in serve['answers'].items() if key.endswith(': 200'))
    refused = total - served - serve['left_early'] - serve['faults']
    (variants,) = stream['models'].values()
    camera = variants['plain']
    rows = [
        (
            'SIGKILL of a training',
            sum(kills['kills'].values()),
            f'{kills["broken_checkpoints"]} broken checkpoints; {kills["differing_runs"]} of '
            f'{kills["finished_runs"]} runs differ from the undisturbed one',
        ),
        (
            f'requests of {serve["clients"]} clients to the server',
            f'{serve["rounds"]} × {serve["requests"]:,}',
            f'{served:,} served, {refused:,} refused with a reason, {serve["left_early"]:,} left '
            f'early, {serve["faults"]} without a proper answer; memory after each round '
            f'{", ".join(map(str, serve["memory_mib"]))} MiB',
        ),
        (
            f'frames of a camera, {stream["camera"]["fps"]:g} a second',
            f'{camera["arrived"]:,}',
            f'{camera["dropped"]:,} dropped in whole segments; slowest prediction '
            f'{camera["latency_ms"]["max"]:.0f} ms; memory up to {_halves(camera["memory"])}',
        ),
    ]
    mutants = found['mutants']
    made = sum(mutants['made'].values())
    noticed = mutants['noticed']
    outcome = f'{noticed} noticed by a fast test; the other {made - noticed} change no number'
    rows.append(('small changes of PA, VAP and the sampler', f'{made:,}', outcome))
    return table(('tried', 'how often', 'outcome'), rows)


def _halves(memory):
    first, second = memory['highest_of_first_half'], memory['highest_of_second_half']
    return f'{first} MiB in the first half, {second} MiB in the second'


TABLES = {
    make.__name__: make
    for make in (motionshapes, own_recipe, accuracy, lead_table, jhmdb, motion)
    + (recognizer, pipeline, stream, ray, ray_stages, ray_costs, int8, reliability)
}
