"""The tables of model_zoo.md: each model's numbers in the metafiles, beside our own runs."""

import yaml

from benchmarks.compared import MODELS_EGOGEST, ROOT
from benchmarks.markdown import table

from .tables import SETTINGS, found, spreads


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
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    tables, own = {}, own_accuracies()
    for path in index['Import']:
        metafile = yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))
        for model in metafile['Models']:
            if 'Results' in model or model['Name'] in own:
                dataset = model['Metadata']['Training Data']
                tables.setdefault(dataset, []).append(row(model, own))
    head = ('config', 'backbone', 'input', 'GMACs', 'params', 'paper', 'ours')
    return '\n\n'.join(f'## {name}\n\n{table(head, rows)}' for name, rows in tables.items())
