"""What MMEngine's runner wrote into the work_dir of a finished run."""

import json
import re
from pathlib import Path
from typing import NamedTuple, Union

from mmengine.config import Config

METRICS = {'acc/top1': 'top1', 'acc/top5': 'top5', 'acc/mean1': 'mean_class'}
SEED = r'^ *seed: (\d+)'
# What EarlyStoppingHook logs when it ends a training.
STOPPED = r'(did not improve in the last|Stopping threshold reached|Monitored .* is infinite)'


class ReportError(ValueError):
    """A work_dir holds no finished and tested run."""


class Logs(NamedTuple):
    """What the runner wrote into a work_dir.

    Attributes:
        cfg (Config): The training's.
        epochs (int): How many it took: those of the config, or fewer where EarlyStoppingHook
            ended it.
        steps (list[dict]): The logged steps of the training that its end came from, in order.
        trainings (list[str]): Text of the logs of the training, the last one last.
        tests (list[tuple]): Metrics and config of each finished test, the last one last.
    """

    cfg: Config
    epochs: int
    steps: list
    trainings: list
    tests: list


def read_logs(work_dir: Union[str, Path]) -> Logs:
    """Read the logs of a run that was trained to its last epoch, or to its early stop.

    Raises:
        ReportError: If the training did not finish, or was resumed with another seed.
    """
    work_dir = Path(work_dir)
    paths = sorted(work_dir.glob('*/*.log'))
    scalars = {path: _json_lines(path.parent / 'vis_data' / 'scalars.json') for path in paths}
    trained = [path for path in paths if any('loss' in line for line in scalars[path])]
    if not trained:
        raise ReportError(f'{work_dir} holds no log of a training')
    cfg = _config_of(trained[-1])
    first = _config_of(trained[0])  # a resumed run's config does not say what it started from
    cfg.load_from, cfg.resume = first.get('load_from'), first.get('resume', False)
    # A resumed run did some steps twice; the later ones count.
    latest = {line['step']: line for path in trained for line in scalars[path] if 'loss' in line}
    steps = [latest[number] for number in sorted(latest)]
    trainings = [path.read_text(encoding='utf-8') for path in trained]
    epochs = cfg.train_cfg.max_epochs
    if _find(trainings[-1], STOPPED):
        epochs = steps[-1]['epoch']
    if not (work_dir / f'epoch_{epochs}.pth').exists() or steps[-1]['epoch'] != epochs:
        raise ReportError(
            f'{work_dir}: the training stopped in epoch {steps[-1]["epoch"]} of {epochs}; continue '
            'it with tools/train.py --resume'
        )
    seeds = {_find(log, SEED) for log in trainings}
    if len(seeds) > 1:
        raise ReportError(
            f'{work_dir} holds logs of several seeds, {", ".join(map(str, sorted(seeds)))}; train '
            'each in a work_dir of its own'
        )
    tests = [
        (line, _config_of(path))
        for path in paths
        if path not in trained
        for line in _json_lines(path.with_suffix('.json'))
        if 'acc/top1' in line
    ]
    return Logs(cfg, epochs, steps, trainings, tests)


def read_run(work_dir: Union[str, Path]) -> dict:
    """What a run was and what it reached, from the files that MMEngine's runner wrote.

    Args:
        work_dir (str | Path): Folder of a run that was trained to its last epoch, or to its early
            stop, then tested.

    Returns:
        dict: ``config`` (name), ``dataset``, ``epochs``, ``batch_size``, ``seed``, ``top1``,
        ``top5``, ``mean_class`` (percent, test split), ``train_minutes`` and ``environment``
        (versions and machine, from the training's log).

    Raises:
        ReportError: If the training or the test did not finish, or the seeds differ.
    """
    cfg, epochs, steps, trainings, tests = read_logs(work_dir)
    tests = [metrics for metrics, test_cfg in tests if not is_reversed(test_cfg)]
    if not tests:
        raise ReportError(f'{work_dir}: trained but not tested; run tools/test.py')
    log = trainings[-1]
    found = dict(
        python=_find(log, r'^ *Python: (\S+)'),
        torch=_find(log, r'^ *PyTorch: (\S+)'),
        mmengine=_find(log, r'^ *MMEngine: (\S+)'),
        mmaction2=_find(log, r'^ *MMAction2: (\S+)'),
        mmcv=_find(log, r'^ *MMCV: (\S+)'),
        pan_mm=_find(log, r'^ *pan_mm: (\S+)'),
        device='GPU' if 'CUDA available: True' in log else 'CPU',
        processor=_find(log, r'^ *Processor: (.+)'),
        gpu=_find(log, r'^ *GPU: (.+)'),
        threads=_find(log, r'^ *Threads: (\d+)'),
    )
    return dict(
        config=next(Path(work_dir).glob('*.py')).stem,
        dataset=cfg.test_dataloader.dataset.type,
        epochs=epochs,
        batch_size=cfg.train_dataloader.batch_size,
        seed=int(_find(log, SEED)),
        **{n: round(100 * tests[-1][key], 2) for key, n in METRICS.items() if key in tests[-1]},
        train_minutes=round(sum(_durations(steps)) / 60, 1),
        environment={name: value for name, value in found.items() if value},
    )


def is_reversed(cfg: Config) -> bool:
    """Whether a config tests with clips that are played backwards."""
    pipeline = cfg.test_dataloader.dataset.get('pipeline', [])
    return any(str(transform['type']).endswith('ReverseFrames') for transform in pipeline)


def commands(trainings: list) -> list:
    """The commands of a training, as its logs tell them; empty for logs that do not."""
    return [command for log in trainings if (command := _find(log, r'^ *Command: (.+)'))]


def _config_of(log):
    return Config.fromfile(log.parent / 'vis_data' / 'config.py')


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
