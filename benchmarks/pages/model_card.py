"""Cards of the models in the package, from their runs and the metafile.

``export_weights(config, checkpoint, 'pan_mm/pretrained/NAME.safetensors', label_map, torch.float16,
dict(config=config, record='DATASET/RUN'))`` of ``pan_mm.deploy.export.weights`` puts a model there.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from benchmarks.evidence import wilson
from benchmarks.markdown import table
from benchmarks.pages.metafile import PATH
from benchmarks.pages.tables import runs_of
from benchmarks.runs import Run, RunError
from pan_mm.inference import zoo
from pan_mm.inference.per_class import per_class
from pan_mm.utils.safetensors import read_texts

FOLDER = Path(__file__).parent


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
    """Find the run that the weights name.

    Raises:
        RunError: If there is none.
    """
    texts = read_texts(weights)
    name = Path(texts['record'].removesuffix('.json')).name
    for run in runs_of(texts['config'].rpartition('_')[2]):
        if run.info['run'] == name:
            return run
    raise RunError(f'results/runs.csv has no run {name}, which {weights} names')


def cards() -> Iterator[tuple]:
    """Path and text of the card of each model in the package."""
    for weights in sorted(zoo.PRETRAINED.glob('*.safetensors')):
        yield weights.with_suffix('.md'), card(weights)
