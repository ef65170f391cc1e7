"""The tables of model_zoo.md and tools/data/*/README.md, from the numbers in the metafiles.

The zoo has our own runs beside the paper's accuracies, the others have the cost of a training.
"""

from collections.abc import Callable
from functools import partial

from mmengine import load

from benchmarks.compared import MODELS_EGOGEST, ROOT
from benchmarks.markdown import table

from .metafile import PATH
from .tables import SETTINGS, found, spreads

# Folder of tools/data: name in the metafiles, and training videos as published.
DATASETS = {
    'sthv1': ('SthV1', 86_017),
    'sthv2': ('SthV2', 168_913),
    'jester': ('Jester', 118_562),
    'kinetics400': ('Kinetics-400', 240_436),
    'ucf101': ('UCF101', 9_537),  # first split
    'hmdb51': ('HMDB51', 3_570),
}
GPUS, RATE = 8, 30e12  # operations a second that a GPU sustains, an assumption
# A multiply-accumulate is two operations; backward costs twice the forward operations.
OPERATIONS = 2 * 3


def papers_accuracy(model):
    """Top-1 / top-5 of a metafile's model as the paper reports them."""
    metrics = {k: v for result in model.get('Results', []) for k, v in result['Metrics'].items()}
    values = [metrics.get(f'Top {k} Accuracy (paper)') for k in (1, 5)]
    return ' / '.join(str(value) for value in values if value is not None)


def own_accuracies():
    """Top-1 / top-5 of the configs that runs in results/ are of."""
    texts = {}
    names = '112 px', '64 px', 'ImageNet weights', 'MotionShapes', 'split 1'
    settings = {name: SETTINGS[name][1] for name in names}
    for name, configs in {**settings, 'EgoGestAR': MODELS_EGOGEST}.items():
        for model, runs in found(name).items():
            if runs:
                texts[configs[model]] = ' / '.join(spreads(runs, ('top1', 'top5')))
    return texts


def row(model, own):
    """Line of a table."""
    data = model['Metadata']
    name = f'[{model["Name"]}]({model["Config"]})'
    if 'Weights' in model:
        name += f' ([weights]({model["Weights"]}))'
    return (
        name,
        data['Architecture'],
        f'{data["Input"]}, {data["Resolution"]}',
        f'{data["FLOPs"].rstrip("G")} × {data["Views"]}',
        data['Parameters'].rstrip('M'),
        papers_accuracy(model),
        own.get(model['Name'], ''),
    )


def model_zoo() -> str:
    """A table for each dataset of the metafiles that model-index.yml lists."""
    tables, own = {}, own_accuracies()
    for path in load(ROOT / 'model-index.yml')['Import']:
        for model in load(ROOT / path)['Models']:
            if 'Results' in model or model['Name'] in own:
                dataset = model['Metadata']['Training Data']
                tables.setdefault(dataset, []).append(row(model, own))
    head = ('config', 'backbone', 'input', 'GMACs', 'params', 'paper', 'ours')
    return '\n\n'.join(f'## {name}\n\n{table(head, rows)}' for name, rows in tables.items())


def costs(dataset: str) -> str:
    """The models of a dataset; hours of their training follow from their operations."""
    name, clips = DATASETS[dataset]
    rows = []
    for model in load(PATH)['Models']:
        data = model['Metadata']
        if data.get('Training Data') != name:
            continue
        gmacs = data['FLOPs'].rstrip('G')
        cells = ['', '']  # an ensemble is its streams, trained one by one
        if epochs := data.get('Epochs'):
            work = OPERATIONS * float(gmacs) * 1e9 * clips * epochs
            cells = [str(epochs), f'{work / GPUS / RATE / 3600:.2g}']
        rows.append([f'`{model["Name"]}`', papers_accuracy(model), gmacs, *cells])
    return table(['config', 'paper, top-1 / top-5', 'GMACs', 'epochs', 'hours on 8 GPUs'], rows)


TABLES: dict[str, Callable] = {
    'model_zoo': model_zoo,
    **{f'costs_{name}': partial(costs, name) for name in DATASETS},
}
