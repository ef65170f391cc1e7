"""Resuming with other settings than those of the checkpoint."""

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper

from pan_mm.engine.resume import ConfiguredSettings

RUN = {
    'runner_type': 'CheckedRunner',
    'default_hooks.checkpoint': dict(type='SafeCheckpointHook', interval=1),
}


def setup(steps=10, rate=0.1, decay=0.0):
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([weight], rate, weight_decay=decay, momentum=0.9))
    schedulers = [
        LinearLR(wrapper, start_factor=0.1, end=3, by_epoch=False),
        CosineAnnealingLR(wrapper, T_max=steps, end=steps, by_epoch=False),
    ]
    return wrapper, schedulers


def run(wrapper, schedulers, steps):
    """Train; the learning rate of each step."""
    rates = []
    for _ in range(steps):
        group = wrapper.param_groups[0]
        rates.append(group['lr'])
        wrapper.update_params(sum((p**2).sum() for p in group['params']))
        for scheduler in schedulers:
            scheduler.step()
    return rates


def resumed(change, after=10):
    wrapper, schedulers = setup()
    run(wrapper, schedulers, after)
    other, others = setup(**change)
    own = ConfiguredSettings(other, others)
    other.load_state_dict(wrapper.state_dict())
    for scheduler, loaded in zip(others, schedulers):
        scheduler.load_state_dict(loaded.state_dict())
    return other, others, own.apply(other)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (dict(steps=20), ['T_max of CosineAnnealingLR: 10 is now 20', 'end of Cosine']),
        (dict(rate=0.3), ['initial_lr: 0.1 is now 0.3']),
        (dict(decay=0.2), ['weight_decay: 0.0 is now 0.2']),
    ],
)
def test_the_config_is_heeded_and_named(change, named):
    expected = run(*setup(**change), 20)
    wrapper, schedulers, changes = resumed(change)
    assert run(wrapper, schedulers, 10) == pytest.approx(expected[10:], abs=1e-12)
    assert wrapper.param_groups[0]['weight_decay'] == change.get('decay', 0.0)
    for words in named:
        assert any(words in each for each in changes)


def test_without_a_change_nothing_is_said_or_done():
    wrapper, schedulers, changes = resumed({}, after=5)
    assert not changes
    (state,) = wrapper.optimizer.state.values()
    assert state['momentum_buffer'].abs().sum() > 0
    assert run(wrapper, schedulers, 5) == run(*setup(), 10)[5:]


def test_a_longer_training_in_a_runner(make_runner, tmp_path, log):
    make_runner(**RUN, **{'train_cfg.max_epochs': 1}).train()
    runner = make_runner(resume=True, **RUN, **{'train_cfg.max_epochs': 1})
    runner.train()
    assert 'nothing is left to do; epochs=2 would train on' in log()
    runner = make_runner(resume=True, **RUN, **{'optim_wrapper.optimizer.weight_decay': 0.25})
    runner.train()
    assert 'weight_decay: ' in log() and 'is now 0.25' in log()
    assert runner.epoch == 2
    assert {group['weight_decay'] for group in runner.optim_wrapper.param_groups} == {0.25}
