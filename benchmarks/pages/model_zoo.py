#!/usr/bin/env python3
"""Write model_zoo.md from the metafiles that model-index.yml lists, and from results/."""

from typing import Optional

import yaml

from benchmarks.compared import (
    MODELS,
    MODELS_64,
    MODELS_IMAGENET,
    MODELS_JHMDB,
    MODELS_MOTIONSHAPES,
    ROOT,
)
from benchmarks.evidence import runs_by_model
from benchmarks.markdown import is_check, table, write_page

from .tables import runs_of, spreads

COMMAND = 'python -m benchmarks.pages.model_zoo'
HEADER = """# Model zoo

<!-- Written by `python -m benchmarks.pages.model_zoo` from the metafiles and results. -->

Weights that exist: those of [our trained model](pan_mm/pretrained/pan-lite-everyday.md), which
come with the package, and those of the authors, in their repository
[zhang-can/PAN-PyTorch](https://github.com/zhang-can/PAN-PyTorch). This line converts a file of
theirs (`--label-order` is only for Something-Something V1 and Jester, whose classes they number
differently):

```shell
python tools/convert/official_to_pan.py PAN_Lite.pth.tar pan_lite.pth --label-order sthv1
```

Each model here has a number: top-1 / top-5 on the validation set, in percent. `paper` is what the
paper reports for the authors' models; `ours` is what the runs recorded in this repository
reached, mean ± sample standard deviation over seeds: one seed on MotionShapes
([get started](docs/get_started.md#test)), and on UTD-MHAD and split 1 of JHMDB the runs in
[results](docs/results.md), with TSN, TSM and others for comparison. GMACs are multiply-accumulates
of one view (a clip and a crop) times views; params are in millions. The streams of these models,
and configs for your own videos, are in [configs](configs/recognition/pan/README.md#configs);
[projects](projects/README.md) has the experiments.
"""


def papers_accuracy(metrics):
    """Top-1 / top-5 as the paper reports them."""
    values = [metrics.get(f'Top {k} Accuracy (paper)') for k in (1, 5)]
    return ' / '.join(str(value) for value in values if value is not None)


def own_accuracies():
    """Top-1 / top-5 of the configs that runs in results/ are of."""
    texts = {}
    for dataset, groups in (
        ('utd-mhad-depth', (MODELS, MODELS_64, MODELS_IMAGENET)),
        ('motionshapes-rgb', (MODELS_MOTIONSHAPES,)),
        ('jhmdb-rgb', (MODELS_JHMDB,)),
    ):
        for models in groups:
            for model, runs in runs_by_model(runs_of(dataset), models).items():
                if runs:
                    texts[models[model]] = ' / '.join(spreads(runs, ('top1', 'top5')))
    return texts


def row(model, own):
    """Line of a table."""
    data = model['Metadata']
    metrics = {k: v for result in model.get('Results', []) for k, v in result['Metrics'].items()}
    name = f'[{model["Name"]}]({model["Config"]})'
    if 'Weights' in model:
        name += f' ([weights]({model["Weights"]}))'
    return (
        name,
        data['Architecture'],
        f'{data["Input"]}, {data["Resolution"]}',
        f'{data["FLOPs"].rstrip("G")} × {data["Views"]}',
        data['Parameters'].rstrip('M'),
        papers_accuracy(metrics),
        own.get(model['Name'], ''),
    )


def model_zoo():
    """Text of model_zoo.md."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    tables, own = {}, own_accuracies()
    for path in index['Import']:
        metafile = yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))
        for model in metafile['Models']:
            if 'Results' in model or model['Name'] in own:
                dataset = model['Metadata']['Training Data']
                tables.setdefault(dataset, []).append(row(model, own))
    head = ('config', 'backbone', 'input', 'GMACs', 'params', 'paper', 'ours')
    return HEADER + ''.join(
        f'\n## {dataset}\n\n{table(head, rows)}\n' for dataset, rows in tables.items()
    )


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__, argv)
    write_page(ROOT / 'model_zoo.md', model_zoo(), COMMAND, check)


if __name__ == '__main__':
    main()
