#!/usr/bin/env python3
"""Kill a training at random moments, and compare the outcome with an undisturbed one.

The config is the project's own for MotionShapes, on a few clips of few pixels. Every second kill
waits until a checkpoint is being written. After each kill all checkpoints are read; the training
is started again with --resume until it is done, and then its weights, momenta and losses must
equal the undisturbed run's, bit by bit. Exits with 1 if they are not.

    python -m benchmarks.reliability.kills --times 20
"""

import argparse
import collections
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.registry import RUNNERS, init_default_scope  # noqa: E402

import pan_mm  # noqa: E402, F401
from benchmarks.reliability.motionshapes import RESULTS, small_config  # noqa: E402
from benchmarks.timing import write_section  # noqa: E402
from pan_mm.utils.checkpoint import load_checkpoint_file  # noqa: E402
from pan_mm.utils.errors import CheckpointError  # noqa: E402

EPOCHS = 6


def config(folder):
    options = {
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_begin': 1,
        'work_dir': str(folder / 'work'),
        'default_hooks.logger.interval': 1,
        'randomness': dict(seed=0),
        'resume': True,
    }
    return small_config(folder, 2, options, num_train=4, num_val=2)


def start(folder):
    """Train, or continue, in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    status, errors = 1, os.dup(2)
    try:
        with open(folder / 'output.txt', 'a') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        torch.set_num_threads(1)
        init_default_scope('mmaction')
        RUNNERS.build(config(folder)).train()
        status = 0
    except BaseException:
        os.dup2(errors, 2)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(pid):
    """Return True if a process has ended by itself; raise an error if it failed."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done and status:
        raise RuntimeError(f'a training failed, see above: {os.waitstatus_to_exitcode(status)}')
    return bool(done)


def half_written(folder):
    return any((folder / 'work').glob('.*.pth.*'))


def disturb(folder, chooser, seconds, while_saving):
    """Start and kill; returns the phase that was hit, or None if the training was faster."""
    pid = start(folder)
    deadline = time.monotonic() + chooser.uniform(0, seconds)
    while not (half_written(folder) if while_saving else time.monotonic() > deadline):
        if ended(pid):
            return None
        time.sleep(0.002)
    if while_saving:
        time.sleep(chooser.uniform(0, 0.1))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
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
    if isinstance(value, dict):
        value = value.items()
    elif isinstance(value, (list, tuple)):
        value = enumerate(value)
    elif isinstance(value, (torch.Tensor, int, float, np.ndarray)):
        return {name: torch.as_tensor(value)}
    else:
        return {}
    return {key: v for k, part in value for key, v in flat(part, f'{name}/{k}').items()}


def differences(one, other):
    """Names of what differs between the last checkpoints of two runs."""
    found = []
    for run in (one, other):
        checkpoint = load_checkpoint_file(run / 'work' / f'epoch_{EPOCHS}.pth')
        losses = checkpoint['message_hub']['log_scalars']['train/loss'].data
        keys = ('state_dict', 'optimizer', 'param_schedulers')
        found.append(flat(dict(losses=losses, **{key: checkpoint[key] for key in keys})))
    one, other = found
    assert len(one) > 100
    return [
        name
        for name in one.keys() | other.keys()
        if name not in one or name not in other or not torch.equal(one[name], other[name])
    ]


def finish(folder):
    """Train to the end, undisturbed."""
    folder.mkdir(exist_ok=True)
    pid = start(folder)
    while not ended(pid):
        time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--times', type=int, default=20, help='kills (default: 20)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: 0)')
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    chooser = random.Random(args.seed)
    kills, failures, differing, finished = collections.Counter(), [], [], 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        undisturbed = Path(place, 'undisturbed')
        finish(undisturbed)
        seconds = (time.monotonic() - began) / 2
        while sum(kills.values()) < args.times:
            folder = Path(place, f'run{finished}')
            folder.mkdir()
            while sum(kills.values()) < args.times:
                hit = disturb(folder, chooser, seconds, sum(kills.values()) % 2)
                failures += broken(folder)
                if hit is None:  # the training was faster
                    break
                kills[hit] += 1
            finish(folder)
            finished += 1
            differing += [f'{folder.name}: {name}' for name in differences(undisturbed, folder)]
    report = dict(
        kills=dict(kills),
        finished_runs=finished,
        broken_checkpoints=len(failures),
        differing_runs=len({name.split(':')[0] for name in differing}),
        epochs=EPOCHS,
        minutes=round((time.monotonic() - began) / 60, 1),
        torch=torch.__version__,
        python=platform.python_version(),
    )
    print(json.dumps(report, indent=2))
    print(*failures, *differing[:20], sep='\n')
    write_section(args.out, 'kills', report)
    return 1 if failures or differing else 0


if __name__ == '__main__':
    sys.exit(main())
