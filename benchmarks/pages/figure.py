"""The figures of the pages: accuracy against cost, and against time."""

from collections.abc import Iterable
from pathlib import Path

from mmengine import load

from benchmarks.compared import MODELS
from benchmarks.evidence import bootstrap, by_unit, mean_top1
from benchmarks.runs import RESULTS

from .tables import found

SPEED = RESULTS / 'performance' / 'file_to_label_epyc-2-cores.json'
TICKS = (4, 5, 6, 8, 10, 12, 50, 60, 80, 100, 120, 160)
# By the motion cue that a model has: marker and color.
CUES = {
    'PA': ('o', 'C0'),
    'differences of frames': ('D', 'C1'),
    'no motion cue': ('s', '0.4'),
}


def cue_of(model: str) -> str:
    """The motion cue of a model, by its name in the tables."""
    if 'ifferences' in model:
        return 'differences of frames'
    return 'PA' if model.startswith('PAN') and model != 'PAN RGB' else 'no motion cue'


def write_cost(path: Path) -> None:
    """Draw top-1 of each model on UTD-MHAD against its cost, with intervals over subjects."""
    points = [
        (runs[0].info['gmacs'], *accuracy(model, runs))
        for model, runs in found('112 px').items()
        if runs
    ]
    draw(points, path, 'GMACs for one video')


def write_speed(path: Path) -> None:
    """Draw the same against the time from a video file to its label, where it was measured."""
    milliseconds = load(SPEED)['models']
    points = [
        (milliseconds[MODELS[model]]['ms'], *accuracy(model, runs))
        for model, runs in found('112 px').items()
        if MODELS[model] in milliseconds
    ]
    draw(points, path, 'milliseconds from a video file to its label')


def accuracy(model: str, runs: list) -> tuple:
    """Top-1 over seeds, the model's name, and the interval over subjects."""
    return mean_top1(runs), model, bootstrap(by_unit(runs, 'subject')['percent'])


def draw(points: Iterable, path: Path, across: str) -> None:
    """Draw models, each of them a cost, an accuracy, a name and the accuracy's interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.6), layout='constrained')
    axes = figure.subplots()
    points = sorted(points)
    place = 0
    for cost, mean, model, (low, high) in points:
        place = max(cost, 1.035 * place)  # side by side, where the costs are too alike
        marker, color = CUES[cue_of(model)]
        bar = dict(yerr=[[mean - low], [high - mean]], fmt=marker, color=color, capsize=3)
        axes.errorbar(place, mean, **bar)
        text = dict(rotation=90, ha='center', va='top', fontsize=8)
        axes.annotate(model, (place, low), (0, -6), textcoords='offset points', **text)
    axes.set_xscale('log', base=2)
    axes.set_xticks([tick for tick in TICKS if points[0][0] < 1.1 * tick < 1.2 * place])
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlim(0.9 * points[0][0], 1.1 * place)
    axes.set_xlabel(across)
    axes.set_ylabel('top-1, %')
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    for cue, (marker, color) in CUES.items():
        axes.plot([], [], marker, color=color, label=cue)
    axes.legend(fontsize=8, loc='lower right')
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100, metadata=dict(Software=None))
