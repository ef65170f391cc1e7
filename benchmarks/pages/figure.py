"""The figure of docs/results.md: accuracy against cost."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.evidence import bootstrap, by_subject, mean_top1

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


def write_cost(found: Mapping, path: Path) -> None:
    """Draw top-1 of each model against its cost, with the bootstrap interval over subjects."""
    from matplotlib.figure import Figure

    points = [
        (runs[0].info['gmacs'], mean_top1(runs), model, bootstrap([*by_subject(runs).values()]))
        for model, runs in found.items()
        if runs
    ]
    figure = Figure(figsize=(8.4, 4.6), layout='constrained')
    axes = figure.subplots()
    place = 0
    for gmacs, mean, model, (low, high) in sorted(points):
        place = max(gmacs, 1.035 * place)  # side by side, where the costs are too alike
        marker, color = CUES[cue_of(model)]
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
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100, metadata=dict(Software=None))
