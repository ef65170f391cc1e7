#!/usr/bin/env python3
"""Put a trained model into the package; ``python -m benchmarks.pages`` then writes its card.

    python -m benchmarks.pages.model_card NAME FILE.pth DATASET/RUN --label-map FILE

It writes pan_mm/pretrained/NAME.safetensors in float16. The card is made from the run, which must
be the test of this checkpoint, and the metafile.
"""

import argparse
import hashlib
import json
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


def ship(name: str, checkpoint: Path, record: str, label_map: Optional[Path]) -> None:
    """Write the weights of a run into the package.

    Raises:
        RunError: If the run tested another checkpoint.
    """
    run = find_run(record)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if run.info['sha256'] != digest:
        raise RunError(f'{record} is not of {checkpoint}, whose SHA-256 is {digest}')
    config = run.info['config']
    texts = dict(config=config, record=record)
    out = zoo.PRETRAINED / f'{name}.safetensors'
    export_weights(config, checkpoint, out, label_map, torch.float16, texts)


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
    rows = []
    for own in sorted(per_class(run.scores, run.labels, names), key=lambda own: own.value):
        mistaken = ', '.join(f'{name} ({count})' for name, count in own.mistaken[:3])
        rows.append((own.name, own.videos, f'{own.value:.0f}', mistaken))
    return table(['class', 'clips', 'recognized, %', 'taken for'], rows)


def card(weights: Path) -> str:
    """Text of the card of a model."""
    texts, run = read_texts(weights), run_of(weights)
    config, names = texts['config'], json.loads(texts['classes'])
    models = yaml.safe_load(PATH.read_text(encoding='utf-8'))['Models']
    facts = next(model['Metadata'] for model in models if model['Name'] == config)
    described = yaml.safe_load((FOLDER / 'cards.yml').read_text(encoding='utf-8'))
    unknown = dict(data='Not described.', license='Not known.', limits='')
    template = (FOLDER / 'card.template').read_text(encoding='utf-8')
    return template.format(
        name=weights.stem,
        config=config,
        num_classes=len(names),
        classes=', '.join(names),
        megabytes=weights.stat().st_size / 1e6,
        tested=f'{accuracy(run)}\n\n{confusions(run, names)}',
        **{key.lower(): value for key, value in facts.items()},
        **described.get(config.rpartition('_')[2], unknown),
    )


def run_of(weights: Path) -> Run:
    """Find the run that the weights name."""
    texts = read_texts(weights)
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
        yield weights.with_suffix('.md'), card(weights)


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', help='of the model')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('run', help='DATASET/RUN, the test of this checkpoint')
    parser.add_argument('--label-map', type=Path, help='class names, one a line')
    args = parser.parse_args(argv)
    ship(args.name, args.checkpoint, args.run, args.label_map)


if __name__ == '__main__':
    main()
