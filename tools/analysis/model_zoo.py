#!/usr/bin/env python3
"""Write model_zoo.md from the metafiles that model-index.yml lists."""

import argparse
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

HEADER = """# Model zoo

<!-- Written by `python tools/analysis/model_zoo.py` from the metafiles; edit those. -->

GMACs are multiply-accumulates of one view (a clip and a crop) times views; params are in
millions. Accuracies are top-1 / top-5 on the validation set, in percent: `paper` is what the
paper reports for the authors' models, `ours` what a result file in this repository shows.
No weights are published here; `tools/convert/official_to_pan.py` converts those of the authors.
"""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--check', action='store_true', help='write nothing, fail if model_zoo.md is stale'
    )
    return parser.parse_args()


def accuracy(metrics, mark):
    """Top-1 / top-5 under the names that end with ``mark``."""
    values = [metrics.get(f'Top {k} Accuracy{mark}') for k in (1, 5)]
    return ' / '.join(str(value) for value in values if value is not None)


def row(model):
    """Line of a table."""
    data = model['Metadata']
    metrics = {k: v for result in model.get('Results', []) for k, v in result['Metrics'].items()}
    name = f'[{model["Name"]}]({model["Config"]})'
    if 'Weights' in model:
        name += f' ([weights]({model["Weights"]}))'
    cells = (
        name,
        data['Architecture'],
        f'{data["Input"]}, {data["Resolution"]}',
        f'{data["FLOPs"].rstrip("G")} × {data["Views"]}',
        data['Parameters'].rstrip('M'),
        accuracy(metrics, ' (paper)'),
        accuracy(metrics, ''),
    )
    return f'| {" | ".join(cells)} |\n'


def model_zoo():
    """Text of model_zoo.md."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    tables = {}
    for path in index['Import']:
        metafile = yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))
        for model in metafile['Models']:
            dataset = model['Metadata'].get('Training Data', 'Your own videos')
            tables.setdefault(dataset, []).append(row(model))
    head = '| config | backbone | input | GMACs | params | paper | ours |\n' + '|---' * 7 + '|\n'
    return HEADER + ''.join(
        f'\n## {dataset}\n\n{head}{"".join(rows)}' for dataset, rows in tables.items()
    )


def main():
    args = parse_args()
    path = ROOT / 'model_zoo.md'
    text = model_zoo()
    if not args.check:
        path.write_text(text, encoding='utf-8')
    elif not path.is_file() or path.read_text(encoding='utf-8') != text:
        sys.exit('error: model_zoo.md is stale; run python tools/analysis/model_zoo.py')


if __name__ == '__main__':
    main()
