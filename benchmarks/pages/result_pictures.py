"""The pictures of docs/results.md."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from benchmarks.compared import MODELS, class_names
from benchmarks.records.by_model import results_by_model
from benchmarks.records.records import Record
from pan_mm.inference.per_class import per_class

from .evidence import bootstrap, by_subject


def best_model(found: dict) -> Optional[str]:
    """The model whose confusions are shown: of those with runs the largest of the paper's."""
    return next((model for model in reversed(MODELS) if found[model]), None)


def plot_classes(found: dict, figure) -> None:
    """Accuracy of each class and model, mean over seeds, as a table of colors."""
    names = class_names()
    models = [model for model, results in found.items() if results]
    recalls = [
        [[own.value for own in per_class(r.scores, r.labels, names)] for r in found[model]]
        for model in models
    ]
    values = np.array([np.mean(own, axis=0) for own in recalls]).T
    order = np.argsort(values.mean(axis=1))[::-1]
    figure.set_size_inches(2.6 + 0.75 * len(models), 7.2)
    axes = figure.subplots()
    _heat(axes, values[order], fontsize=8, aspect='auto')
    labels = [textwrap.fill(model, 12) for model in models]
    axes.set_xticks(range(len(models)), labels, fontsize=8)
    axes.set_yticks(range(len(names)), [names[index] for index in order], fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)


def _heat(axes, percent, fontsize, least=0, aspect='equal'):
    """Cells colored by their percent, with the numbers from ``least`` on."""
    axes.imshow(percent, cmap='Blues', vmin=0, vmax=100, aspect=aspect)
    for (row, column), value in np.ndenumerate(percent):
        if value >= least:
            color = 'white' if value > 55 else 'black'
            style = dict(fontsize=fontsize, color=color)
            axes.text(column, row, f'{value:.0f}', ha='center', va='center', **style)


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
            steps, epochs = result.curve['step'], result.curve['epoch']
            label = model if index == 0 else None
            line = '-' if number < 10 else '--'  # there are ten colors
            style = dict(color=f'C{number}', ls=line, linewidth=1, alpha=0.8, label=label)
            axes.plot(steps / steps[-1] * epochs[-1], result.curve['loss'], **style)
    axes.set_xlabel('epoch')
    axes.set_ylabel('training loss')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


# By what a model sees of motion: marker and color.
CUES = {
    'PA': ('o', 'C0'),
    'differences of frames': ('D', 'C1'),
    'no motion cue': ('s', '0.4'),
}


def _cue(model):
    if 'ifferences' in model:
        return 'differences of frames'
    return 'PA' if model.startswith('PAN') and model != 'PAN RGB' else 'no motion cue'


def plot_cost(found: dict, figure) -> None:
    """Top-1 of each model against its cost, with the bootstrap interval over subjects."""
    points = []
    for model, results in found.items():
        if shares := list(by_subject(results).values()):
            mean = np.mean([result.accuracies['top1'] for result in results])
            points.append((results[0].gmacs, mean, model, bootstrap(shares)))
    figure.set_size_inches(8.4, 4.6)
    axes = figure.subplots()
    place = 0
    for gmacs, mean, model, (low, high) in sorted(points):
        place = max(gmacs, 1.035 * place)  # side by side, where the costs are too alike
        marker, color = CUES[_cue(model)]
        bar = dict(yerr=[[mean - low], [high - mean]], fmt=marker, color=color, capsize=3)
        axes.errorbar(place, mean, **bar)
        text = dict(rotation=90, ha='center', va='top', fontsize=8)
        axes.annotate(model, (place, low), (0, -6), textcoords='offset points', **text)
    axes.set_xscale('log', base=2)
    axes.set_xticks([4, 6, 8, 12])
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('GMACs for one video')
    axes.set_ylabel('top-1, %')
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    for cue, (marker, color) in CUES.items():
        axes.plot([], [], marker, color=color, label=cue)
    axes.legend(fontsize=8, loc='lower right')


PICTURES = {
    'cost': plot_cost,
    'classes': plot_classes,
    'confusion': plot_confusion,
    'curves': plot_curves,
}


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
