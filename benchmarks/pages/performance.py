#!/usr/bin/env python3
"""Write docs/performance.md and its plots from docs/performance.md.in and the result files.

    python -m benchmarks.pages.performance

A line ``@NAME@`` of the template becomes what results/performance/NAME_*.json hold, a section for
each file, or the command that makes such a file where there is none.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from benchmarks import kernel_counts, motion, pipeline

ROOT = Path(__file__).resolve().parents[2]
HEADER = """<!-- Written by `python -m benchmarks.pages.performance` from performance.md.in and
results/performance; edit those. -->
"""


class Kind(NamedTuple):
    """A kind of result file.

    Attributes:
        command (str): Makes one.
        text (Callable): From a report to Markdown.
        plot (Callable, optional): From a report and a ``matplotlib.figure.Figure`` to a plot.
    """

    command: str
    text: Callable
    plot: Optional[Callable] = None


def environment_line(report: dict) -> str:
    """What a result file was measured on, in a line."""
    environment = dict(report['environment'])
    device = environment.pop('device')
    date = environment.pop('date')
    keys = ('cores', 'threads', 'capability', 'load_before', 'stolen_seconds')
    keys += ('torch', 'triton', 'opencv', 'onnxruntime')
    known = [f'{key.replace("_", " ")} {environment[key]}' for key in keys if environment.get(key)]
    return f'{device}; {", ".join(known)}; {date}.'


def folded(summary: str, text: str) -> str:
    """Text that a reader opens."""
    return f'<details><summary>{summary}</summary>\n\n{text.strip()}\n\n</details>'


def motion_text(report: dict) -> str:
    return folded('All measurements', motion.table(report['results']))


def kernels_text(report: dict) -> str:
    """A table of counts, below what they allow at most on one GPU."""
    lines = [
        'Derived, not measured: what an H100 (132 multiprocessors that start 4 instructions a '
        'cycle at 1.755 GHz) could do at 224 × 224 with m = 4 and 8 filters of 7 × 7, if nothing '
        'but starting instructions took time.',
        '',
        '| frames | precision | instructions per output | at most, thousand frames/s |',
        '|---' * 4 + '|',
    ]
    for row in report['kernels']:
        main = row['kernel'], row['capability'], row['filters'], row['size']
        if main == ('features', 9.0, 8, 7):
            count = row['instructions_per_output']
            rate = kernel_counts.derived_rate(count) / 1000
            lines.append(f'| {row["frames"]} | {row["precision"]} | {count} | {rate:.0f} |')
    return '\n'.join(lines) + '\n\n' + folded('All counts', kernel_counts.table(report))


def plot_motion(report: dict, figure) -> None:
    """Frames per second of each method, at the first size with the most threads."""
    results = report['results']
    size = results[0]['width'], results[0]['height']
    results = [r for r in results if (r['width'], r['height']) == size]
    threads = max(r['threads'] for r in results)
    results = [r for r in results if r['threads'] == threads]
    methods = list(dict.fromkeys(row['method'] for r in results for row in r['methods']))
    figure.set_size_inches(8, 0.7 + 0.28 * len(methods) * len(results))
    axes = figure.subplots()
    height = 0.8 / len(results)
    for number, result in enumerate(results):
        rows = {row['method']: row['frames_per_second'] for row in result['methods']}
        names = [method for method in methods if method in rows]
        places = [methods.index(method) + number * height for method in names]
        bars = axes.barh(places, [rows[n] for n in names], height, label=result['dtype'])
        labels = [f'{rows[n]:,.0f}' if rows[n] >= 100 else f'{rows[n]:.3g}' for n in names]
        axes.bar_label(bars, labels, padding=2, fontsize=7)
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(methods))], methods)
    axes.invert_yaxis()
    axes.set_xscale('log')
    axes.margins(x=0.12)
    axes.set_xlabel(f'frames per second at {size[0]} × {size[1]}, {threads} threads')
    axes.legend(fontsize=8)


def recognizer_text(report: dict) -> str:
    """Tables of one row per model."""
    settings = report['settings']
    inference = {(r['model'], r['variant'], r['batch']): r for r in report['inference']}
    variants = list(dict.fromkeys(r['variant'] for r in report['inference']))
    batches = list(dict.fromkeys(r['batch'] for r in report['inference']))
    lines = [
        f'Frames of {settings["size"]} × {settings["size"]}; clips per second at the best of the '
        f'batches {", ".join(map(str, batches))}.',
        '',
        f'| model | frames | params, M | ms, batch {batches[0]} | {" | ".join(variants)} |',
        '|---' * (4 + len(variants)) + '|',
    ]
    for name, model in report['models'].items():
        clip = model['clip']
        first = inference[name, variants[0], batches[0]]
        best = [max(inference[name, v, b]['clips_per_second'] for b in batches) for v in variants]
        lines.append(
            f'| {name} | {clip[2] if len(clip) == 5 else clip[0]} | '
            f'{model["parameters"] / 1e6:.1f} | {first["ms"]:.0f} | '
            f'{" | ".join(f"{value:.3g}" for value in best)} |'
        )
    training = {(r['model'], r['variant']): r for r in report['training']}
    variants = list(dict.fromkeys(r['variant'] for r in report['training']))
    batch = report['training'][0]['batch']
    lines += [
        '',
        f'Training steps per second with {batch} clips, and the memory of a step and of inference:',
        '',
        f'| model | {" | ".join(variants)} | MiB, training | MiB, inference of {batches[-1]} |',
        '|---' * (3 + len(variants)) + '|',
    ]
    for name in report['models']:
        steps = [f'{training[name, variant]["per_second"]:.3g}' for variant in variants]
        peak = training[name, variants[0]]['peak_mbytes']
        own = inference[name, report['inference'][0]['variant'], batches[-1]]['peak_mbytes']
        lines.append(f'| {name} | {" | ".join(steps)} | {peak:.0f} | {own:.0f} |')
    if report.get('video'):
        lines += [
            '',
            f'From {report["video"][0]["videos"]} video files to labels, one at a time:',
            '',
            '| model | ms | videos/s | of it decoding |',
            '|---' * 4 + '|',
        ]
        lines += [
            f'| {row["model"]} | {row["ms"]:.0f} | {row["videos_per_second"]:.3g} | '
            f'{row["decoding_share"]:.0%} |'
            for row in report['video']
        ]
    return '\n'.join(lines)


def plot_recognizer(report: dict, figure) -> None:
    """Clips per second of each model and variant, at the best batch."""
    variants = list(dict.fromkeys(r['variant'] for r in report['inference']))
    models = list(report['models'])
    figure.set_size_inches(8, 1.1 + 0.14 * len(models) * len(variants))
    axes = figure.subplots()
    height = 0.85 / len(variants)
    for number, variant in enumerate(variants):
        best = [
            max(
                r['clips_per_second']
                for r in report['inference']
                if (r['model'], r['variant']) == (model, variant)
            )
            for model in models
        ]
        axes.barh([i + number * height for i in range(len(models))], best, height, label=variant)
    axes.set_yticks([i + 0.425 - height / 2 for i in range(len(models))], models)
    axes.invert_yaxis()
    axes.set_xlabel(f'clips per second, {report["settings"]["size"]} pixels')
    axes.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside lower center', fontsize=8, ncols=len(variants))


def growth_text(report: dict) -> str:
    """A table of PAN_Lite's time and memory against its input."""
    lines = ['| PAN_Lite against | values | ms | MiB | farthest from a line |', '|---' * 5 + '|']
    for curve in report.get('growth') or []:
        lines.append(
            f'| {curve["quantity"].replace("_", " ")} | {", ".join(map(str, curve["values"]))} | '
            f'{", ".join(f"{ms:.0f}" for ms in curve["ms"])} | '
            f'{", ".join(f"{peak:.0f}" for peak in curve["peak_mbytes"])} | '
            f'{curve["line_ms"]["farthest"]:.0%}, {curve["line_mbytes"]["farthest"]:.0%} |'
        )
    return '\n'.join(lines)


def plot_growth(report: dict, figure) -> None:
    """Time and memory against each quantity, with the fitted lines."""
    curves = report['growth']
    figure.set_size_inches(2.4 * len(curves), 4.2)
    for row, (key, line, label) in enumerate(
        (('ms', 'line_ms', 'ms'), ('peak_mbytes', 'line_mbytes', 'MiB'))
    ):
        for column, curve in enumerate(curves):
            axes = figure.add_subplot(2, len(curves), row * len(curves) + column + 1)
            x, fit = curve['values'], curve[line]
            axes.plot(x, [fit['slope'] * v + fit['intercept'] for v in x], color='0.7')
            axes.plot(x, curve[key], 'o', color=f'C{row}')
            axes.set_xlim(0, 1.05 * max(x))
            axes.set_ylim(0, 1.15 * max(curve[key]))
            axes.tick_params(labelsize=7)
            if row:
                axes.set_xlabel(curve['quantity'].replace('_', ' '), fontsize=8)
            if not column:
                axes.set_ylabel(label, fontsize=8)


def pipeline_text(report: dict) -> str:
    return pipeline.table(report)


def plot_pipeline(report: dict, figure) -> None:
    """Stages of each pipeline, one after the other."""
    pipelines = report['pipelines']
    figure.set_size_inches(8, 1.4 + 0.35 * len(pipelines))
    axes = figure.subplots()
    stages = list(dict.fromkeys(s for p in pipelines.values() for s in p['stages_ms']))
    left = [0] * len(pipelines)
    for stage in stages:
        widths = [p['stages_ms'].get(stage, 0) for p in pipelines.values()]
        axes.barh(list(pipelines), widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths)]
    axes.invert_yaxis()
    axes.set_xlabel('ms for a video')
    figure.legend(loc='outside lower center', fontsize=7, ncols=len(stages) // 2)


def stream_text(report: dict) -> str:
    """A table of what each model does with a camera's frames."""
    camera = report['camera']
    lines = [
        f'A camera of {camera["width"]} × {camera["height"]} pixels and {camera["fps"]:g} frames a '
        f'second, {camera["seconds"]:g} s each; crops of {report["size"]} × {report["size"]}, a '
        f'segment every {report["stride"]} frames.',
        '',
        '| model | | latency in ms, median | 95 % | worst | frames dropped | keeps up |',
        '|---' * 7 + '|',
    ]
    for model, variants in report['models'].items():
        for variant, figures in variants.items():
            latency = figures.get('latency_ms') or {}
            numbers = [f'{latency[key]:.0f}' if latency else '' for key in ('p50', 'p95', 'max')]
            lines.append(
                f'| {model} | {variant} | {" | ".join(numbers)} | {figures["dropped"]} of '
                f'{figures["arrived"]} | {"yes" if figures["keeps_up"] else "no"} |'
            )
    return '\n'.join(lines)


def int8_text(report: dict) -> str:
    """A table of what eight bits cost and gain."""
    lines = [
        f'{report["config"]}, {report["videos"]} videos of the test split, one at a time; '
        f'calibrated on {report["calibration_videos"]} of the validation split. int8 names the '
        f'same class as float32 in {report["same_top1"]:g} % of them.',
        '',
        '| | top-1 | top-5 | ms | MiB |',
        '|---' * 5 + '|',
    ]
    lines += [
        f'| {name} | {figures["top1"]:.1f} | {figures["top5"]:.1f} | {figures["median_ms"]:.1f} | '
        f'{report["mib"].get(name, "")} |'
        for name, figures in report['figures'].items()
    ]
    return '\n'.join(lines)


RECOGNIZER = 'python -m benchmarks.recognizer VIDEO ... --growth --out {}'
KINDS = {
    'motion': Kind('python -m benchmarks.motion VIDEO ... --out {}', motion_text, plot_motion),
    'recognizer': Kind(RECOGNIZER, recognizer_text, plot_recognizer),
    'growth': Kind(RECOGNIZER, growth_text, plot_growth),
    'pipeline': Kind(
        'python -m benchmarks.pipeline VIDEO ... --out {}',
        pipeline_text,
        plot_pipeline,
    ),
    'stream': Kind('python -m benchmarks.stream VIDEO --config CONFIG ... --out {}', stream_text),
    'kernels': Kind('python -m benchmarks.kernel_counts --out {}', kernels_text),
    'int8': Kind(
        'python -m benchmarks.int8 --config CONFIG --checkpoint CHECKPOINT --out {}',
        int8_text,
    ),
}


def read_reports(results: Path, name: str) -> dict:
    """Reports of a kind by the names of their files; growth is measured with the recognizers."""
    prefix = 'recognizer' if name == 'growth' else name
    reports = {
        path.stem: json.loads(path.read_text(encoding='utf-8'))
        for path in sorted(results.glob(f'{prefix}_*.json'))
    }
    if name == 'growth':
        reports = {stem: report for stem, report in reports.items() if report.get('growth')}
    return reports


def section(results: Path, name: str) -> str:
    """Markdown of all reports of a kind."""
    kind, parts = KINDS[name], []
    for stem, report in read_reports(results, name).items():
        source = f'[{stem}.json](../results/performance/{stem}.json)'
        pieces = [f'{environment_line(report)} {source}', kind.text(report)]
        if kind.plot:
            pieces.insert(1, f'![{name}](performance/{plot_name(name, stem)})')
        parts.append('\n\n'.join(pieces))
    if not parts:
        command = kind.command.format(f'results/performance/{name}_MACHINE.json')
        command = command.replace('growth_MACHINE', 'recognizer_MACHINE')
        parts.append(f'Nothing measured yet. This makes a result file:\n\n```shell\n{command}\n```')
    return '\n\n'.join(parts)


def plot_name(name: str, stem: str) -> str:
    return f'{stem}.png' if name != 'growth' else f'growth_{stem.partition("_")[2]}.png'


def page(template: str, results: Path) -> str:
    """Text of docs/performance.md."""
    pattern = re.compile(r'^@(\w+)@$', re.MULTILINE)
    return HEADER + pattern.sub(lambda match: section(results, match.group(1)), template)


def write_plots(results: Path, folder: Path) -> None:
    """Draw all reports into ``folder``; plots of files that are gone are removed."""
    from matplotlib.figure import Figure

    folder.mkdir(exist_ok=True)
    for old in folder.glob('*.png'):
        old.unlink()
    for name, kind in KINDS.items():
        if not kind.plot:
            continue
        for stem, report in read_reports(results, name).items():
            figure = Figure(layout='constrained')
            kind.plot(report, figure)
            figure.savefig(folder / plot_name(name, stem), dpi=100, metadata=dict(Software=None))


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if the page is stale'
    )
    args = parser.parse_args(argv)
    docs, results = ROOT / 'docs', ROOT / 'results' / 'performance'
    text = page((docs / 'performance.md.in').read_text(encoding='utf-8'), results)
    path = docs / 'performance.md'
    if args.check:
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            sys.exit(f'error: {path} is stale; run python -m benchmarks.pages.performance')
        return
    path.write_text(text, encoding='utf-8')
    write_plots(results, docs / 'performance')


if __name__ == '__main__':
    main()
