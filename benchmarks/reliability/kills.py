#!/usr/bin/env python3
"""Kill a training at random moments, and compare the outcome with an undisturbed one.

The config is the project's own for MotionShapes, on a few clips of few pixels. Every second kill
waits until a checkpoint is being written. After each kill all checkpoints are read; the training
is started again with --resume until it is done, and then its weights, momenta and losses must
equal the undisturbed run's, bit by bit. Exits with 1 if they are not.

    python -m benchmarks.reliability.kills --times 20
"""

import collections
import contextlib
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.registry import RUNNERS, init_default_scope  # noqa: E402

import pan_mm  # noqa: E402, F401
from benchmarks.reliability.motionshapes import RESULTS, small_config  # noqa: E402
from benchmarks.timing import new_parser, write_report  # noqa: E402
from pan_mm.utils.checkpoint import load_checkpoint_file  # noqa: E402
from pan_mm.utils.errors import CheckpointError  # noqa: E402

EPOCHS = 6
SECONDS = 600  # that a training may take


def train(folder):
    """Train, or continue."""
    options = {
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_begin': 1,
        'work_dir': str(folder / 'work'),
        'default_hooks.logger.interval': 1,
        'randomness': dict(seed=0),
        'resume': True,
    }
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    with open(folder / 'output.txt', 'a') as output, contextlib.redirect_stdout(output):
        RUNNERS.build(small_config(folder, 2, options, num_train=4, num_val=2)).train()


def start(folder):
    """Train in a process of its own, which is forked: it need not import."""
    folder.mkdir(exist_ok=True)
    process = multiprocessing.get_context('fork').Process(target=train, args=(folder,))
    process.start()
    return process


def finish(folder):
    """Train to the end, undisturbed."""
    process = start(folder)
    process.join(SECONDS)
    if process.exitcode != 0:
        process.kill()
        sys.exit(f'error: a training failed or did not end, see above: {process.exitcode}')


def half_written(folder):
    return any((folder / 'work').glob('.*.pth.*'))


def disturb(folder, chooser, seconds, while_saving):
    """Start and kill; returns the phase that was hit, or None if the training was faster."""
    process = start(folder)
    deadline = time.monotonic() + (SECONDS if while_saving else chooser.uniform(0, seconds))
    while time.monotonic() < deadline and not (while_saving and half_written(folder)):
        if process.exitcode == 0:
            return None
        time.sleep(0.002)
    if while_saving:
        time.sleep(chooser.uniform(0, 0.1))
    process.kill()
    process.join(SECONDS)
    return 'saving' if half_written(folder) else 'at another moment'


def broken(folder):
    """Checkpoints that a kill has left unreadable."""
    found = []
    for path in (folder / 'work').glob('[!.]*.pth'):
        try:
            load_checkpoint_file(path)
        except CheckpointError as error:
            found.append(str(error))
    return found


def flat(value, name=''):
    """All numbers inside nested containers, as tensors by name."""
    if isinstance(value, (torch.Tensor, int, float, np.ndarray)):
        return {name: torch.as_tensor(value)}
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    parts = value.items() if isinstance(value, dict) else ()
    return {key: v for k, part in parts for key, v in flat(part, f'{name}/{k}').items()}


def outcome(folder):
    """Weights, momenta and losses at the end."""
    checkpoint = load_checkpoint_file(folder / 'work' / f'epoch_{EPOCHS}.pth')
    losses = checkpoint['message_hub']['log_scalars']['train/loss'].data
    keys = ('state_dict', 'optimizer', 'param_schedulers')
    return flat(dict(losses=losses, **{key: checkpoint[key] for key in keys}))


def differs(one, other):
    """Tell whether two outcomes differ in a bit."""
    assert len(one) > 100
    return one.keys() != other.keys() or any(not torch.equal(one[k], other[k]) for k in one)


def main():
    parser = new_parser(__doc__, device=False)
    parser.add_argument('--times', type=int, default=20, help='kills (default: 20)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: 0)')
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    chooser = random.Random(args.seed)
    kills, failures, differing, finished = collections.Counter(), [], 0, 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        undisturbed = Path(place, 'undisturbed')
        finish(undisturbed)
        seconds = (time.monotonic() - began) / 2
        while kills.total() < args.times:
            folder = Path(place, f'run{finished}')
            while kills.total() < args.times:
                hit = disturb(folder, chooser, seconds, kills.total() % 2)
                failures += broken(folder)
                if hit is None:
                    break
                kills[hit] += 1
            finish(folder)
            finished += 1
            differing += differs(outcome(undisturbed), outcome(folder))
    report = dict(
        kills=dict(kills),
        finished_runs=finished,
        broken_checkpoints=len(failures),
        differing_runs=differing,
        epochs=EPOCHS,
        minutes=round((time.monotonic() - began) / 60, 1),
        torch=torch.__version__,
        python=platform.python_version(),
    )
    print(json.dumps(report, indent=2), *failures, sep='\n')
    write_report(args.out, report, 'kills')
    return 1 if failures or differing else 0


if __name__ == '__main__':
    sys.exit(main())
