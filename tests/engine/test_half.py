"""Falling back to float32 where bfloat16 is only emulated."""

import pytest
from mmengine.config import Config

from pan_mm.engine import half

AMP = dict(
    type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic', clip_grad=dict(max_norm=1)
)


@pytest.mark.parametrize(
    ('units', 'gpu', 'dtype', 'kept'),
    [
        (True, False, 'bfloat16', True),
        (False, False, 'bfloat16', False),
        (False, True, 'float16', True),
    ],
)
def test_config(units, gpu, dtype, kept, monkeypatch):
    monkeypatch.setattr(half, 'multiplies_bfloat16', lambda: units)
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    cfg = Config(dict(optim_wrapper=dict(AMP, dtype=dtype)))
    change = half.without_slow_half(cfg)
    if kept:
        assert change is None and cfg.optim_wrapper == dict(AMP, dtype=dtype)
    else:
        assert 'no units for bfloat16' in change
        assert cfg.optim_wrapper == dict(type='OptimWrapper', clip_grad=dict(max_norm=1))


def test_a_runner_says_it(make_runner, log, monkeypatch):
    monkeypatch.setattr(half, 'multiplies_bfloat16', lambda: False)
    runner = make_runner(
        runner_type='CheckedRunner',
        **{'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
    )
    runner.train()
    assert 'the training is in float32' in log()
    assert type(runner.optim_wrapper).__name__ == 'OptimWrapper'
