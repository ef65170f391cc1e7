"""Cards of the models in the package, from their runs and the metafile.

``export_weights(config, checkpoint, 'pan_mm/pretrained/NAME.safetensors', label_map, torch.float16,
texts_of(record, dev))`` of ``pan_mm.deploy.export.weights`` puts a model there.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine import load

from benchmarks.evidence import fuse, fused_streams, wilson
from benchmarks.markdown import table
from benchmarks.pages.metafile import PATH
from benchmarks.pages.tables import runs_of
from benchmarks.runs import RESULTS, Run, RunError
from pan_mm.inference import zoo
from pan_mm.inference.calibration import (
    COVERAGE,
    Calibration,
    as_probabilities,
    fit_calibration,
    threshold_for,
)
from pan_mm.utils.safetensors import read_texts

FOLDER = Path(__file__).parent
BINS = 15  # of the expected calibration error


def texts_of(record: Run, dev: Run) -> dict:
    """Texts for the weights of a run, calibrated on the dev run of the same config.

    The dev run of streams that are fused is theirs, fused (:func:`fused_runs`).
    """
    dataset = record.info['dataset']
    return dict(
        config=record.info['config'],
        record=f'{dataset}/{record.info["run"]}',
        dev=f'{dataset}/{dev.info["run"]}',
        calibration=json.dumps(calibration_on(dev)._asdict()),
    )


def calibration_on(dev: Run) -> Calibration:
    """Temperature and threshold by the scores of videos that a run was not trained on."""
    return fit_calibration(as_probabilities(dev.scores), dev.labels)


def _calibrated(run, temperature):
    probabilities = torch.from_numpy(as_probabilities(run.scores))
    return Calibration(temperature)(probabilities).numpy()


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance of confidence and accuracy, over bins of equal width, weighted by videos."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right - confidence)  # summed over each bin
    return float(np.abs(gaps).sum() / len(labels))


def calibration(run: Run, dev: Run) -> str:
    """Calibration errors before and after, and accuracy by coverage."""
    own = calibration_on(dev)
    errors = []
    for each in (dev, run):
        scores = as_probabilities(each.scores), _calibrated(each, own.temperature)
        values = (100 * expected_calibration_error(p, each.labels) for p in scores)
        errors.append((each.info['test_list'], *(f'{value:.1f}' for value in values)))
    rows = []
    for coverage in (1, 0.8, COVERAGE, 0.4):
        threshold = threshold_for(_calibrated(dev, own.temperature), coverage)
        cells = [f'{100 * coverage:.0f}', f'{threshold:.2f}']
        for each in (dev, run):
            sure = _calibrated(each, own.temperature).max(1) >= threshold
            cells += [f'{100 * sure.mean():.0f}', f'{100 * each.hits[sure].mean():.1f}']
        rows.append(cells)
    names = [each.info['test_list'] for each in (dev, run)]
    head = ['coverage wanted, %', 'threshold']
    head += [f'{name}: {what}' for name in names for what in ('sure, %', 'of these right, %')]
    runs = 'the dev runs of its streams' if ' + ' in dev.info['run'] else 'its dev run'
    return f"""Probabilities are calibrated by a temperature of {own.temperature:.2f}, fitted on
{runs} (`{dev.info['run']}`).
Where test clips are harder than dev clips, it can make them worse. Expected calibration error, in
percentage points:

{table(['clips', 'before', 'after'], errors)}

Below a probability of {own.threshold:.3f} the model says that it is unsure. It is chosen so that
{100 * COVERAGE:.0f} % of the dev clips reach it:

{table(head, rows)}"""


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
moves logits by less than 0.15. In [runs.csv](../../results/runs.csv) the run is
`{info['run']}` of `{info['dataset']}`."""


def confusions(run: Run, names: Sequence[str]) -> str:
    """Each class, the hardest first."""
    rows = []
    for label, name in enumerate(names):
        found = Counter(run.scores[run.labels == label].argmax(1).tolist())
        videos, hits = found.total(), found.pop(label, 0)
        mistaken = [f'{names[other]} ({count})' for other, count in found.most_common(3)]
        rows.append((hits / videos, name, videos, ', '.join(mistaken)))
    rows.sort(key=lambda row: row[0])
    cells = [(name, videos, f'{100 * share:.0f}', others) for share, name, videos, others in rows]
    return table(['class', 'clips', 'recognized, %', 'taken for'], cells)


def card(weights: Path) -> str:
    """Text of the card of a model."""
    texts = read_texts(weights)
    run = find_run(texts, 'record')
    config, names = texts['config'], json.loads(texts['classes'])
    facts = next(model['Metadata'] for model in load(PATH)['Models'] if model['Name'] == config)
    described = load(FOLDER / 'cards.yml')
    unknown = dict(data='Not described.', license='Not known.', limits='')
    tested = [accuracy(run), confusions(run, names)]
    if 'dev' in texts:
        doubt = calibration(run, find_run(texts, 'dev'))
        tested += ['## Doubt', doubt, *rejection(weights.stem)]
    template = (FOLDER / 'card.template').read_text(encoding='utf-8')
    stream = facts['Stream']
    return template.format(
        name=weights.stem,
        config=config,
        num_classes=len(names),
        classes=', '.join(names),
        megabytes=weights.stat().st_size / 1e6,
        tested='\n\n'.join(tested),
        streams=f'streams {stream}' if ' + ' in stream else f'stream {stream}',
        **{key.lower(): value for key, value in facts.items()},
        **described.get(config.rpartition('_')[2], unknown),
    )


def rejection(name: str) -> Iterator[str]:
    """Table of the clips from other domains that the model is unsure of."""
    rows = [
        (world, found['clips'], f'{100 * found["unsure"] / found["clips"]:.0f}')
        for world, found in load(RESULTS / 'rejection.json').get(name, {}).items()
    ]
    if rows:
        yield f"""Clips from other domains, on which it was neither trained nor chosen
(`python -m benchmarks.rejection`):

{table(['clips', 'number', 'unsure, %'], rows)}"""


def find_run(texts: dict, key: str) -> Run:
    """Find the run that the texts of weights name, or fuse the runs of several streams.

    Raises:
        RunError: If there is none.
    """
    runs = {run.info['run']: run for run in runs_of(texts['config'].rpartition('_')[2])}
    names = Path(texts[key]).name.split(' + ')
    for name in names:
        if name not in runs:
            raise RunError(f'results/runs.csv has no run {name}, which the weights name')
    if len(names) == 1:
        return runs[names[0]]
    return fused_runs(texts['config'], [runs[name] for name in names])


def fused_runs(config: str, runs: Sequence[Run]) -> Run:
    """Fuse runs of the streams of a ``PANEnsemble``, in the order of its config."""
    run = fuse(runs, list(fused_streams(config).values()))
    run.info['run'] = ' + '.join(own.info['run'] for own in runs)
    return run


def cards() -> Iterator[tuple]:
    """Path and text of the card of each model in the package."""
    for weights in sorted(zoo.PRETRAINED.glob('*.safetensors')):
        yield weights.with_suffix('.md'), card(weights)
