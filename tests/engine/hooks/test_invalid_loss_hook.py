"""A loss that is no number stops a training before a checkpoint is written."""

import re

import pytest
import torch


@pytest.mark.parametrize('value', ['nan', 'inf'])
def test_it_stops_and_names_the_batch(make_runner, tmp_path, value):
    runner = make_runner(
        custom_hooks=[dict(type='InvalidLossHook')],
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=1)),
    )
    calls = []

    def break_the_fourth(module, args, loss):
        calls.append(1)
        return loss * float(value) if len(calls) == 4 else loss

    runner.model.cls_head.loss_cls.register_forward_hook(break_the_fourth)
    with pytest.raises(FloatingPointError, match=value) as error:
        runner.train()
    message = str(error.value)
    assert 'in iteration 4, epoch 2' in message
    assert len(set(re.findall(r'(\d)\.mp4', message))) == 2  # of four videos
    assert [path.name for path in (tmp_path / 'work').glob('*.pth')] == ['epoch_1.pth']
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


def test_a_real_divergence_is_found(make_runner):
    """Also where ``PackActionInputs`` does not keep the names, ``DataFaultHook`` does."""
    runner = make_runner(
        custom_hooks=[dict(type='DataFaultHook'), dict(type='InvalidLossHook')],
        pack=dict(type='PackActionInputs'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e30)),
    )
    with pytest.raises(FloatingPointError, match=r'loss.* is (nan|inf).*\.mp4'):
        runner.train()
