"""The tables of tools/data/*/README.md: the paper's numbers, and the cost of a training."""

from collections.abc import Callable, Iterator
from functools import partial

import yaml

from benchmarks.compared import ROOT
from benchmarks.markdown import table

from .model_zoo import papers_accuracy

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


def models(name: str) -> Iterator[tuple]:
    """Yield the metadata and the paper's accuracy of each model of a dataset."""
    path = ROOT / 'configs/recognition/pan/metafile.yml'
    for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
        if model['Metadata'].get('Training Data') == name:
            yield model['Name'], model['Metadata'], papers_accuracy(model)


def costs(dataset: str) -> str:
    """The models of a dataset; hours of their training follow from their operations."""
    name, clips = DATASETS[dataset]
    rows = []
    for model, data, paper in models(name):
        cells = ['', '']  # an ensemble is its streams, trained one by one
        if epochs := data.get('Epochs'):
            work = OPERATIONS * float(data['FLOPs'].rstrip('G')) * 1e9 * clips * epochs
            cells = [str(epochs), f'{work / GPUS / RATE / 3600:.2g}']
        rows.append([f'`{model}`', paper, data['FLOPs'].rstrip('G'), *cells])
    return table(['config', 'paper, top-1 / top-5', 'GMACs', 'epochs', 'hours on 8 GPUs'], rows)


TABLES: dict[str, Callable] = {f'costs_{name}': partial(costs, name) for name in DATASETS}
