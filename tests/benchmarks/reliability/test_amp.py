"""Mixed precision trains as float32 does; float16 is simulated where there is no GPU."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS, init_default_scope
from torch.overrides import TorchFunctionMode

from benchmarks.reliability.motionshapes import small_config
from pan_mm.engine.half import multiplies_bfloat16


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


def train(folder, dtype):
    """Train in ``folder`` for two iterations; returns their losses."""
    name = dtype.replace(' ', '_')
    options = {
        'train_cfg.max_epochs': 2,
        'train_cfg.val_begin': 2,
        'optim_wrapper': OPTIM_WRAPPER[dtype],
        'work_dir': str(folder / name),
        'experiment_name': f'{folder.name}_{name}',
        'default_hooks.checkpoint': dict(interval=-1, save_best=None, save_last=False),
        'randomness': dict(seed=0),
    }
    cfg = small_config(folder, 8, options, num_train=8, num_val=1)
    for scheduler in cfg.param_scheduler[1:]:
        scheduler.update(end=2, T_max=2)
    init_default_scope('mmaction')
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner.message_hub.log_scalars['train/loss'].data[0].tolist()


@pytest.mark.slow
def test_the_first_iterations_are_those_of_float32(tmp_path):
    """The model sees the same frames with the same weights: its losses differ by rounding."""
    exact = train(tmp_path, 'float32')
    for dtype in (FLOAT16, *(['bfloat16'] if multiplies_bfloat16() else [])):
        rounded = train(tmp_path, dtype)
        assert len(exact) == len(rounded) == 2
        assert rounded != exact
        assert rounded == pytest.approx(exact, rel=0.02)
