#!/usr/bin/env python3
"""Train PAN_Lite on MotionShapes with float32, bfloat16 and float16, from the same seed.

    python -m benchmarks.reliability.amp

The config is the project's own for MotionShapes, on fewer and smaller clips. Autocast trains as
well as float32 if in the last epoch the mean loss and the accuracy in validation are within BOUND
of float32's; exits with 1 if they are not. A run of float32 with another seed says how far chance
takes them. On a GPU it is the GPU's autocast. On a CPU bfloat16 is what `--amp` gives;
float16, which MMEngine does not offer there and which took over 20 times as long, is simulated: the
numbers are rounded where a GPU rounds them. Under 10 minutes on two cores.
"""

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS, init_default_scope
from torch.overrides import TorchFunctionMode

import pan_mm  # noqa: F401
from benchmarks.reliability.motionshapes import RESULTS, small_config
from benchmarks.timing import write_section

BOUND = dict(loss=0.1, top1=0.1)


class _Round(torch.autograd.Function):
    """To float16 and back, in both directions."""

    @staticmethod
    def forward(ctx, x):
        return x.half().float()

    @staticmethod
    def backward(ctx, grad):
        return grad.half().float()


class _RoundedLayers(TorchFunctionMode):
    """Layers that autocast gives to float16: their inputs, weights and outputs are rounded."""

    LAYERS = (F.conv2d, F.linear, F.batch_norm)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in self.LAYERS:
            return func(*args, **kwargs)
        if func is not F.batch_norm:  # whose weights stay float32
            args = [_Round.apply(x) if isinstance(x, torch.Tensor) else x for x in args]
        return _Round.apply(func(*args, **kwargs))


@OPTIM_WRAPPERS.register_module()
class SimulatedFloat16(OptimWrapper):
    """Rounds where float16 autocast rounds on a GPU, adds up in float32, and scales the loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaler = torch.amp.GradScaler('cpu')

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), _RoundedLayers():
            yield

    def backward(self, loss, **kwargs):
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.scaler.unscale_(self.optimizer)
        self._clip_grad()
        self.scaler.step(self.optimizer)
        self.scaler.update()


FLOAT16 = 'float16' if torch.cuda.is_available() else 'simulated float16'
OPTIM_WRAPPER = {
    'float32': {},
    'bfloat16': dict(type='AmpOptimWrapper', dtype='bfloat16'),
    'float16': dict(type='AmpOptimWrapper', dtype='float16'),
    'simulated float16': dict(type='SimulatedFloat16'),
}


def train(folder, dtype, seed=0, epochs=8, num_train=96, num_val=120):
    """Train in ``folder``; losses of all iterations, top-1 at the end, and the time taken."""
    name = f'{dtype}_seed{seed}'.replace(' ', '_')
    options = {
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_begin': epochs,
        'optim_wrapper': OPTIM_WRAPPER[dtype],
        'work_dir': str(folder / name),
        'experiment_name': f'{folder.name}_{name}',
        'default_hooks.checkpoint': dict(interval=-1, save_best=None, save_last=False),
        'randomness': dict(seed=seed),
    }
    cfg = small_config(folder, 8, options, num_train=num_train, num_val=num_val)
    for scheduler in cfg.param_scheduler[1:]:
        scheduler.update(end=epochs, T_max=epochs)
    init_default_scope('mmaction')
    began = time.monotonic()
    runner = RUNNERS.build(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    return dict(
        losses=scalars['train/loss'].data[0].tolist(),
        top1=float(scalars['val/acc/top1'].current()),
        seconds=round(time.monotonic() - began),
    )


def by_epoch(run, epochs):
    losses = torch.tensor(run['losses']).reshape(epochs, -1).mean(dim=1)
    return dict(
        loss=[round(loss, 4) for loss in losses.tolist()],
        top1=round(run['top1'], 4),
        seconds=run['seconds'],
    )


def compare(run, reference):
    """Add the differences between the end of a run and the end of float32's."""
    run['loss_difference'] = round(run['loss'][-1] / reference['loss'][-1] - 1, 4)
    run['top1_difference'] = round(run['top1'] - reference['top1'], 4)


def is_as_good(run):
    """A NaN is not."""
    return (
        abs(run['loss_difference']) <= BOUND['loss']
        and abs(run['top1_difference']) <= BOUND['top1']
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--clips', type=int, default=96, help='to train with (default: 96)')
    parser.add_argument('--val-clips', type=int, default=120)
    parser.add_argument('--threads', type=int, default=2, help='of PyTorch (default: 2)')
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = {}
    with tempfile.TemporaryDirectory() as place:
        for dtype, seed in (('float32', 0), ('bfloat16', 0), (FLOAT16, 0), ('float32', 1)):
            name = f'{dtype}, seed {seed}' if seed else dtype
            run = train(Path(place), dtype, seed, args.epochs, args.clips, args.val_clips)
            runs[name] = by_epoch(run, args.epochs)
            if name != 'float32':
                compare(runs[name], runs['float32'])
            print(name, json.dumps(runs[name]), flush=True)
    on_gpu = torch.cuda.is_available()
    report = dict(
        bound=BOUND,
        clips=args.clips,
        val_clips=args.val_clips,
        runs=runs,
        device=torch.cuda.get_device_name() if on_gpu else 'CPU',
        torch=torch.__version__,
        python=platform.python_version(),
    )
    write_section(args.out, 'amp', report)
    return 0 if is_as_good(runs['bfloat16']) and is_as_good(runs[FLOAT16]) else 1


if __name__ == '__main__':
    sys.exit(main())
