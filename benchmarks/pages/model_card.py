#!/usr/bin/env python3
"""Put a trained model into the package, and write the cards of those that are there.

    python -m benchmarks.pages.model_card --ship NAME --checkpoint FILE.pth \\
        --record results/DATASET/RECORD.json --label-map FILE
    python -m benchmarks.pages.model_card

The first command writes pan_mm/pretrained/NAME.safetensors, in float16; both write the cards beside
the weights, from their records in results, the metafile and what is known of the data.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import torch
import yaml

from benchmarks.compared import CONFIGS, ROOT
from benchmarks.markdown import table, write_page
from benchmarks.pages.evidence import hits_of, wilson
from benchmarks.pages.metafile import PATH
from benchmarks.records.records import Record, read_record
from benchmarks.records.runs import ReportError
from pan_mm.deploy.export.weights import export_weights
from pan_mm.inference import zoo
from pan_mm.inference.per_class import per_class
from pan_mm.utils.safetensors import read_texts

COMMAND = 'python -m benchmarks.pages.model_card'
RESULTS = ROOT / 'results'

# For each dataset, by its name in configs: a description, its license, what its models are not for.
DATA = {
    'jhmdb-rgb': (
        'JHMDB (Jhuang et al., ICCV 2013): 928 clips of 21 everyday actions, 15 to 40 frames each, '
        'a subset of HMDB51. The lists are our own, parted by the film that a clip was cut from; '
        "they are not JHMDB's official splits.",
        'HMDB51 is published under CC BY 4.0; terms of JHMDB itself were not found, and its films '
        'belong to their owners. Take the model for research, and cite the dataset.',
        'The clips are short, of films and the web, one action in each, and the person in the '
        'middle. The model names one of its 21 classes whatever it sees, also where nobody acts.',
    ),
}
NOT_FOR = (
    'Do not use it to watch, grade or judge people, nor where a wrong answer does harm: it is a '
    'starting point and a demonstration. For actions of your own, train on your own videos.'
)


def ship(name: str, checkpoint: Path, record: Path, label_map: Optional[Path]) -> None:
    """Write the weights that a record is of into the package.

    Raises:
        ReportError: If the record is of another checkpoint.
    """
    info = json.loads(record.read_text(encoding='utf-8'))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if info.get('checkpoint', {}).get('sha256') != digest:
        raise ReportError(f'{record} is not of {checkpoint}, whose SHA-256 is {digest}')
    zoo.PRETRAINED.mkdir(exist_ok=True)
    texts = dict(config=info['config'], record=record.resolve().relative_to(RESULTS).as_posix())
    out = zoo.PRETRAINED / f'{name}.safetensors'
    export_weights(info['config'], checkpoint, out, label_map, torch.float16, texts)


def accuracy(record: Record) -> str:
    """What the test of the weights reached."""
    hits = hits_of(record)
    low, high = wilson(int(hits.sum()), len(hits))
    reached = record.accuracies
    top1, top5, mean_class = (f'{reached[key]:.1f}' for key in ('top1', 'top5', 'mean_class'))
    head = ['trained on', 'tested on', 'clips', 'top-1', '95 % interval', 'top-5', 'mean class']
    row = [*record.info['lists'], len(record.labels)]
    row += [top1, f'{low:.1f} … {high:.1f}', top5, mean_class]
    return f"""{table(head, [row])}

In percent. The interval (Wilson) takes the clips for independent, which clips of one film are not;
the true one is wider. The figures are of the weights before they were rounded to float16, which
moves logits by less than 0.1. Record:
[{record.path.stem}](../../{record.path.relative_to(ROOT).as_posix()})."""


def confusions(record: Record, names: Sequence[str]) -> str:
    """Each class, the hardest first."""
    results = per_class(record.scores, record.labels, names)
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


def card(weights: Path, record: Optional[Record]) -> str:
    """Text of the card of a model."""
    texts = read_texts(weights)
    config, names = texts['config'], json.loads(texts['classes'])
    models = yaml.safe_load(PATH.read_text(encoding='utf-8'))['Models']
    data = next(model['Metadata'] for model in models if model['Name'] == config)
    what, licence, not_for = DATA.get(
        config.rpartition('_')[2], ('Not described.', 'Not known.', '')
    )
    tested = 'There is no record of a test here, so it is not known.'
    if record:
        tested = f'{accuracy(record)}\n\n{confusions(record, names)}'
    return f"""# {weights.stem}

<!-- Written by `{COMMAND}`. -->

A PAN ({data['Stream']} stream, {data['Architecture']}) that knows {len(names)} classes:
{', '.join(names)}. It sees {data['Input']}, {data['Resolution']} pixels;
{data['FLOPs']} multiply-accumulates, {data['Parameters']} parameters,
{weights.stat().st_size / 1e6:.1f} MB. Config: `{config}`.

```shell
python -m pan_mm predict video.mp4 --model {weights.stem}
```

## Data

{what}

License of the data: {licence} License of the weights and the code: Apache-2.0, as far as the data
allow.

## Accuracy

{tested}

## What it is not for

{not_for}
{NOT_FOR}
"""


def record_of(weights: Path) -> Optional[Record]:
    """The record that the weights name."""
    name = read_texts(weights).get('record')
    return read_record(RESULTS / name, CONFIGS) if name else None


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--ship', metavar='NAME', help='put a model of this name into the package')
    parser.add_argument('--checkpoint', type=Path, help='its weights')
    parser.add_argument('--record', type=Path, help='of the test of this checkpoint, .json')
    parser.add_argument('--label-map', type=Path, help='class names, one a line')
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if a card is stale'
    )
    args = parser.parse_args(argv)
    try:
        if args.ship:
            if not args.checkpoint or not args.record:
                parser.error('--ship needs --checkpoint and --record')
            ship(args.ship, args.checkpoint, args.record, args.label_map)
        for weights in sorted(zoo.PRETRAINED.glob('*.safetensors')):
            text = card(weights, record_of(weights))
            write_page(weights.with_suffix('.md'), text, COMMAND, args.check)
    except (ReportError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
