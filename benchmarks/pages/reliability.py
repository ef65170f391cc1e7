#!/usr/bin/env python3
"""Write the figures of docs/reliability.md, and its plot, from the files in results/reliability.

    python -m benchmarks.pages.reliability

It rewrites the page from "## Figures" on; all above stays.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Optional

from benchmarks.compared import ROOT
from benchmarks.markdown import is_check, table, write_page

HEADING = '## Figures\n'
PLOT = 'reliability/memory.png'
INTRODUCTION = """
From the files in `results/reliability`, which the commands below write.

"""
COMMANDS = """
```shell
python -m benchmarks.reliability.kills --times 20 --out results/reliability/kills.json
python -m benchmarks.reliability.amp --out results/reliability/amp.json
python -m benchmarks.reliability.fuzz --inputs 100000 --out results/reliability/fuzz.json
python -m benchmarks.reliability.load --config CONFIG --checkpoint CHECKPOINT --video CLIP \\
    --minutes 2 --out results/reliability/serve.json
python -m benchmarks.stream CLIP --config CONFIG --fps 300 --seconds 120 \\
    --out results/reliability/stream.json
pytest -m "" -n 3 --dist worksteal --cov --cov-report=markdown:results/reliability/coverage.md
python -m benchmarks.pages.reliability   # writes this section
```
"""


def kills_row(found: dict) -> tuple:
    phases = ', '.join(f'{n} while {phase}' for phase, n in sorted(found['kills'].items()))
    return (
        'SIGKILL of a training',
        f'{sum(found["kills"].values())} ({phases})',
        f'{found["broken_checkpoints"]} broken checkpoints; {found["differing_runs"]} of '
        f'{found["finished_runs"]} runs differ from the undisturbed one',
    )


def fuzz_row(found: dict) -> tuple:
    return (
        f'mutated inputs of {len(found["targets"])} readers and operators',
        f'{found["inputs"]:,}',
        f'{len(found["failed"])} with an undocumented error',
    )


def amp_row(found: dict) -> tuple:
    bound = found['bound']
    others = {name: run for name, run in found['runs'].items() if name != 'float32'}
    epochs = len(found['runs']['float32']['loss'])
    return (
        f'training MotionShapes with autocast, against float32 ({found["device"]}; bound: '
        f'loss within {bound["loss"]:.0%}, val top-1 within {100 * bound["top1"]:.0f} points)',
        f'{epochs} epochs of {found["clips"]} clips',
        'last epoch: '
        + '; '.join(
            f'{name} loss {run["loss_difference"]:+.1%}, '
            f'top-1 {100 * run["top1_difference"]:+.1f} points'
            for name, run in others.items()
        ),
    )


def serve_row(found: dict) -> tuple:
    answers = found['answers']
    total = sum(answers.values())
    served = sum(n for key, n in answers.items() if key.endswith(': 200'))
    memory = found['memory']
    proper = total - served - found['faults']
    return (
        f'requests to the server, {found["parallel"]} at once for {found["minutes"]:g} min',
        f'{total:,}',
        f'{served:,} served, {proper:,} refused with a reason, '
        f'{found["faults"]} without a proper answer; memory up to '
        f'{memory["highest_of_first_half"]} MiB in the first half, '
        f'{memory["highest_of_second_half"]} MiB in the second',
    )


def stream_row(found: dict) -> tuple:
    (variants,) = found['models'].values()
    figures = variants['plain']
    camera, memory = found['camera'], figures['memory']
    return (
        f'frames of a camera, {camera["fps"]:g} a second for {camera["seconds"] / 60:g} min',
        f'{figures["arrived"]:,}',
        f'{figures["dropped"]:,} dropped in whole segments, {figures["predictions"]:,} '
        f'predictions, the slowest {figures["latency_ms"]["max"]:.0f} ms after its frame; '
        f'memory up to {memory["highest_of_first_half"]} MiB in the first half, '
        f'{memory["highest_of_second_half"]} MiB in the second',
    )


def slow_row(found: dict) -> tuple:
    slow = found['beside_slow_clients']
    alone, beside = slow['alone'], slow['beside']
    load = found['environment']['load_average'][0]
    return (
        f'{slow["honest"]} good clients with as many places, with {slow["slow"]} slow ones for '
        f'{beside["minutes"]:g} min',
        f'{sum(beside["answers"].values()):,}',
        f'{slow["refused"]} refused; {beside["per_minute"]} videos a minute, without slow clients '
        f'{alone["per_minute"]}; median {beside["seconds"]["median"]:.1f} s, without '
        f'{alone["seconds"]["median"]:.1f} s; slowest {beside["seconds"]["worst"]:.1f} s, without '
        f'{alone["seconds"]["worst"]:.1f} s (load average {load:g})',
    )


ROWS = dict(
    kills=[kills_row],
    fuzz=[fuzz_row],
    amp=[amp_row],
    serve=[serve_row, slow_row],
    stream=[stream_row],
)


def coverage_row(table: str) -> tuple:
    """From the Markdown table of ``coverage report``."""
    total = re.search(
        r'\*\*TOTAL\*\*\s*\|\s*\**(\d+)\**\s*\|.*?\|\s*\**(\d+)%\**\s*\|$', table, re.M
    )
    return (
        'all tests, on the lines of `pan_mm`',
        f'{int(total.group(1)):,}',
        f'{total.group(2)} % of them were run',
    )


def plotted(results: Path) -> dict:
    """The result files that hold a curve of memory."""
    names = [name for name in ('serve', 'stream') if (results / f'{name}.json').exists()]
    return {name: (results / f'{name}.json').read_bytes() for name in names}


def fingerprint(results: Path) -> str:
    """Is stored in the plot, and says which result files it shows."""
    return hashlib.sha256(b'\0'.join(plotted(results).values())).hexdigest()


def section(results: Path) -> str:
    """Markdown of all figures."""
    rows = []
    for name, makers in ROWS.items():
        path = results / f'{name}.json'
        if path.exists():
            found = json.loads(path.read_text(encoding='utf-8'))
            rows += [make(found) for make in makers]
    coverage = results / 'coverage.md'
    if coverage.exists():
        rows.append(coverage_row(coverage.read_text(encoding='utf-8')))
    text = f'{INTRODUCTION}{table(("tried", "how often", "outcome"), rows)}\n'
    if plotted(results):
        text += f'\nMemory of the process under load:\n\n![memory]({PLOT})\n'
    return text + COMMANDS


def page(text: str, results: Path) -> str:
    """The page with the figures of ``results``."""
    return text.partition(HEADING)[0] + HEADING + section(results)


def write_plot(results: Path, path: Path) -> None:
    """Draw memory against time, a panel for each result file."""
    from matplotlib.figure import Figure

    files = plotted(results)
    if not files:
        return
    figure = Figure(figsize=(8, 2.8), layout='constrained')
    for axes, (name, content) in zip(
        figure.subplots(1, len(files), squeeze=False)[0], files.items()
    ):
        found = json.loads(content)
        if name == 'serve':
            title, memory = f'server, {found["parallel"]} requests at once', found['memory']
        else:
            (variants,) = found['models'].values()
            figures = variants['plain']
            title, memory = f'stream, {found["camera"]["fps"]:g} frames a second', figures['memory']
        axes.plot([second / 60 for second in memory['seconds']], memory['mib'])
        axes.set_ylim(0, 1.15 * max(memory['mib']))
        axes.set_title(title, fontsize=9)
        axes.set_xlabel('minutes')
        axes.set_ylabel('MiB')
        axes.grid(alpha=0.3)
    path.parent.mkdir(exist_ok=True)
    metadata = dict(Software=None, Source=fingerprint(results))
    figure.savefig(path, dpi=100, metadata=metadata)


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__.split('\n')[0], argv)
    results, path = ROOT / 'results' / 'reliability', ROOT / 'docs' / 'reliability.md'
    text = page(path.read_text(encoding='utf-8'), results)
    write_page(path, text, 'python -m benchmarks.pages.reliability', check)
    if not check:
        write_plot(results, path.parent / PLOT)


if __name__ == '__main__':
    main()
