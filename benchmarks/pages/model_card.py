#!/usr/bin/env python3
"""Put a trained model into the package, and write its card.

    python -m benchmarks.pages.model_card --ship NAME --checkpoint FILE.pth \\
        --run DATASET/RUN --label-map FILE
    python -m benchmarks.pages

The first command writes pan_mm/pretrained/NAME.safetensors, in float16; the second one writes the
cards beside the weights from the runs in results and the metafile.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import torch
import yaml

from benchmarks.evidence import wilson
from benchmarks.markdown import table
from benchmarks.pages.metafile import PATH
from benchmarks.pages.tables import runs_of
from benchmarks.runs import Run, RunError
from pan_mm.deploy.export.weights import export_weights
from pan_mm.inference import zoo
from pan_mm.inference.per_class import per_class
from pan_mm.utils.safetensors import read_texts

FOLDER = Path(__file__).parent


def ship(name: str, checkpoint: Path, run: Run, label_map: Optional[Path]) -> None:
    """Write the weights of a run into the package.

    Raises:
        RunError: If the run tested another checkpoint.
    """
    info = run.info
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if info['sha256'] != digest:
        raise RunError(f'{info["run"]} is not of {checkpoint}, whose SHA-256 is {digest}')
    zoo.PRETRAINED.mkdir(exist_ok=True)
    texts = dict(config=info['config'], record=f'{info["dataset"]}/{info["run"]}')
    out = zoo.PRETRAINED / f'{name}.safetensors'
    export_weights(info['config'], checkpoint, out, label_map, torch.float16, texts)


def accuracy(run: Run) -> str:
    """Table of the test of the weights."""
    hits, info = run.hits, run.info
    low, high = wilson(int(hits.sum()), len(hits))
    top1, top5, mean_class = (f'{value:.1f}' for value in run.accuracies.values())
    head = ['trained on', 'tested on', 'clips', 'top-1', '95 % interval', 'top-5', 'mean class']
    row = [info['train_list'], info['test_list'], len(hits)]
    row += [top1, f'{low:.1f} … {high:.1f}', top5, mean_class]
    return f"""{table(head, [row])}

In percent. The interval (Wilson) treats the clips as independent, but clips of one film are not;
the true one is wider. The figures belong to the weights before rounding to float16, which
moves logits by less than 0.1. In [runs.csv](../../results/runs.csv) the run is
`{info['run']}` of `{info['dataset']}`."""


def confusions(run: Run, names: Sequence[str]) -> str:
    """Each class, the hardest first."""
    results = per_class(run.scores, run.labels, names)
    rows = (
        (
            result.name,
            result.videos,
            f'{result.value:.0f}',
            ', '.join(f'{name} ({count})' for name, count in result.mistaken[:3]),
        )
        for result in sorted(results, key=lambda result: result.value)
    )
    return table(['class', 'clips', 'recognized, %', 'taken for'], rows)


def card(weights: Path, run: Optional[Run]) -> str:
    """Text of the card of a model."""
    texts = read_texts(weights)
    config, names = texts['config'], json.loads(texts['classes'])
    models = yaml.safe_load(PATH.read_text(encoding='utf-8'))['Models']
    facts = next(model['Metadata'] for model in models if model['Name'] == config)
    described = yaml.safe_load((FOLDER / 'cards.yml').read_text(encoding='utf-8'))
    unknown = dict(data='Not described.', license='Not known.', limits='')
    tested = 'This repository has no test of it, so it is not known.'
    if run:
        tested = f'{accuracy(run)}\n\n{confusions(run, names)}'
    return (
        (FOLDER / 'card.template')
        .read_text(encoding='utf-8')
        .format(
            name=weights.stem,
            config=config,
            num_classes=len(names),
            classes=', '.join(names),
            megabytes=weights.stat().st_size / 1e6,
            tested=tested,
            **{key.lower(): value for key, value in facts.items()},
            **described.get(config.rpartition('_')[2], unknown),
        )
    )


def run_of(weights: Path) -> Optional[Run]:
    """Find the run that the weights name."""
    texts = read_texts(weights)
    if 'record' not in texts:
        return None
    name = Path(texts['record'].removesuffix('.json')).name
    return find_run(f'{texts["config"].rpartition("_")[2]}/{name}')


def find_run(name: str) -> Run:
    """Find a run by DATASET/RUN, its first two columns in runs.csv.

    Raises:
        RunError: If there is none.
    """
    dataset, _, own = name.partition('/')
    for run in runs_of(dataset):
        if run.info['run'] == own:
            return run
    raise RunError(f'results/runs.csv has no run {name}')


def cards() -> Iterator[tuple]:
    """Path and text of the card of each model in the package."""
    for weights in sorted(zoo.PRETRAINED.glob('*.safetensors')):
        yield weights.with_suffix('.md'), card(weights, run_of(weights))


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--ship', metavar='NAME', required=True, help='name of the model')
    parser.add_argument('--checkpoint', type=Path, required=True, help='its weights')
    parser.add_argument('--run', required=True, help='DATASET/RUN, the test of this checkpoint')
    parser.add_argument('--label-map', type=Path, help='class names, one a line')
    args = parser.parse_args(argv)
    try:
        ship(args.ship, args.checkpoint, find_run(args.run), args.label_map)
    except (RunError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
