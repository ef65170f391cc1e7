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
    # The second epoch's two batches, which are all four videos.
    batch, before = message.split('The batch before')
    named = re.findall(r'(\d)\.mp4', batch), re.findall(r'(\d)\.mp4', before)
    assert len(named[0]) == 2 and sorted(named[0] + named[1]) == ['0', '1', '2', '3']
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
