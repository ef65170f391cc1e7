"""From the work_dirs of finished runs to a table of results."""

import json
import re
from pathlib import Path
from typing import Union

from mmengine.config import Config

METRICS = {'acc/top1': 'top1', 'acc/top5': 'top5', 'acc/mean1': 'mean_class'}


class ReportError(ValueError):
    """A work_dir holds no finished and tested run."""


def read_run(work_dir: Union[str, Path]) -> dict:
    """What a run was and what it reached, from the files that MMEngine's runner wrote.

    Args:
        work_dir (str | Path): Folder of a run that was trained to its last epoch, then tested.

    Returns:
        dict: ``config`` (name), ``dataset``, ``epochs``, ``batch_size``, ``seed``, ``top1``,
        ``top5``, ``mean_class`` (percent, test split), ``train_minutes`` and ``environment``
        (versions, from the training's log).

    Raises:
        ReportError: If the training or the test did not finish.
    """
    work_dir = Path(work_dir)
    logs = sorted(work_dir.glob('*/*.log'))
    scalars = {path: _json_lines(path.parent / 'vis_data' / 'scalars.json') for path in logs}
    trained = [path for path in logs if any('loss' in line for line in scalars[path])]
    if not trained:
        raise ReportError(f'{work_dir} holds no log of a training')
    cfg = Config.fromfile(trained[-1].parent / 'vis_data' / 'config.py')
    steps = [line for path in trained for line in scalars[path] if 'loss' in line]
    epochs = cfg.train_cfg.max_epochs
    if not (work_dir / f'epoch_{epochs}.pth').exists() or steps[-1]['epoch'] != epochs:
        raise ReportError(
            f'{work_dir}: the training stopped in epoch {steps[-1]["epoch"]} of {epochs}; go on '
            'with tools/train.py --resume'
        )
    tests = [
        line
        for path in logs
        if path not in trained
        for line in _json_lines(path.with_suffix('.json'))
        if 'acc/top1' in line
    ]
    if not tests:
        raise ReportError(f'{work_dir}: trained but not tested; run tools/test.py')
    log = trained[-1].read_text(encoding='utf-8')
    return dict(
        config=next(work_dir.glob('*.py')).stem,
        dataset=cfg.test_dataloader.dataset.type,
        epochs=epochs,
        batch_size=cfg.train_dataloader.batch_size,
        seed=int(_find(log, r'^ *seed: (\d+)')),
        **{name: round(100 * tests[-1][key], 2) for key, name in METRICS.items()},
        train_minutes=round(sum(_durations(steps)) / 60, 1),
        environment=dict(
            python=_find(log, r'^ *Python: (\S+)'),
            torch=_find(log, r'^ *PyTorch: (\S+)'),
            mmengine=_find(log, r'^ *MMEngine: (\S+)'),
            device='GPU' if 'CUDA available: True' in log else 'CPU',
        ),
    )


def _json_lines(path):
    if not path.exists():
        return []
    lines = path.read_text(encoding='utf-8').splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _durations(steps):
    """Seconds between the logged steps: each logs the mean time of its last iterations."""
    before = 0
    for line in steps:
        yield (line['step'] - before) * line['time']
        before = line['step']


def _find(text, pattern):
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1) if match else None


def markdown_table(runs: list) -> str:
    """Table of the runs, in percent of the test split, for people."""
    rows = ['| config | top-1 | top-5 | mean class | training, min |', '|---|---|---|---|---|']
    rows += [
        f'| {run["config"]} | {run["top1"]:.1f} | {run["top5"]:.1f} | {run["mean_class"]:.1f} | '
        f'{run["train_minutes"]:.1f} |'
        for run in runs
    ]
    return '\n'.join(rows) + '\n'
