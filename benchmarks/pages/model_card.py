#!/usr/bin/env python3
"""Put a trained model into the package, and write its card.

    python -m benchmarks.pages.model_card --ship NAME --checkpoint FILE.pth \\
        --run DATASET/RUN --label-map FILE
    python -m benchmarks.pages

The first command writes pan_mm/pretrained/NAME.safetensors, in float16; the second one writes the
cards beside the weights from the runs in results and the metafile.
"""

import argparse
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
from benchmarks.run_list import sha256
from benchmarks.runs import Run
from benchmarks.settings import RunError
from pan_mm.deploy.export.weights import export_weights
from pan_mm.inference import zoo
from pan_mm.inference.per_class import per_class
from pan_mm.utils.safetensors import read_texts

COMMAND = 'python -m benchmarks.pages'

# For each dataset, by its name in configs: a description, its license, what its models are not for.
DATA = {
    'jhmdb-rgb': (
        'JHMDB (Jhuang et al., ICCV 2013): 928 clips of 21 everyday actions, 15 to 40 frames each, '
        'a subset of HMDB51. The lists are our own, parted by the film that a clip was cut from; '
        "they are not JHMDB's official splits.",
        'HMDB51 is published under CC BY 4.0; terms of JHMDB itself were not found, and its films '
        'belong to their owners. Take the model for research, and cite the dataset.',
        'The clips are short, of films and the web, one action in each, and the person in the '
        'middle. The model always names one of its 21 classes, even if there is no action.',
    ),
}
NOT_FOR = (
    'Do not use it to watch, grade or judge people, nor where a wrong answer does harm: it is a '
    'starting point and a demonstration. For actions of your own, train on your own videos.'
)


def ship(name: str, checkpoint: Path, run: Run, label_map: Optional[Path]) -> None:
    """Write the weights of a run into the package.

    Raises:
        RunError: If the run tested another checkpoint.
    """
    info = run.info
    digest = sha256(checkpoint)
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
    data = next(model['Metadata'] for model in models if model['Name'] == config)
    what, licence, not_for = DATA.get(
        config.rpartition('_')[2], ('Not described.', 'Not known.', '')
    )
    tested = 'This repository has no test of it, so it is not known.'
    if run:
        tested = f'{accuracy(run)}\n\n{confusions(run, names)}'
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

## Limits

{not_for}
{NOT_FOR}
"""


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
