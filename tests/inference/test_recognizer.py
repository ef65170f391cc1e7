"""Checkpoints that are odd in some way: one error says of each what is wrong."""

import pytest
import torch

from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.utils.errors import CheckpointError
from pan_mm.utils.safetensors import save_safetensors

NAME = 'cls_head.fc_cls.weight'


def put(value):
    return lambda c: c['state_dict'].update({NAME: value(c['state_dict'][NAME])})


def classes(value):
    return lambda c: c['meta'].update(dataset_meta=dict(classes=value))


ODD = {
    'weights of another shape': (put(lambda w: w.t()), f'size mismatch for {NAME}'),
    'a weight too many': (lambda c: c['state_dict'].update(a=torch.ones(1)), 'Unexpected key'),
    'a meta that is a list': (lambda c: c.update(meta=[1]), 'its meta is a list'),
    'a dataset_meta that is a text': (
        lambda c: c['meta'].update(dataset_meta='a'),
        'its dataset_meta is a str',
    ),
    'classes that are a number': (classes(25), 'classes in its dataset_meta is 25'),
    'classes that are lists': (classes([[1]] * 19), 'classes in its dataset_meta'),
}


@pytest.mark.parametrize('kind', ODD)
def test_odd_checkpoints(config, checkpoint, tmp_path, kind):
    change, message = ODD[kind]
    state = torch.load(checkpoint)
    changed = change(state)
    torch.save(state if changed is None else changed, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=rf'(?s)odd\.pth.*{message}'):
        PANInferencer(config, tmp_path / 'odd.pth', 'cpu')


def test_half_precision_weights_in_a_float32_model(config, checkpoint, tmp_path):
    state = torch.load(checkpoint)['state_dict']
    save_safetensors(tmp_path / 'half.safetensors', state, torch.float16)
    model = load_recognizer(config, tmp_path / 'half.safetensors', 'cpu')
    for name, weight in model.state_dict().items():
        assert weight.dtype == state[name].dtype
        torch.testing.assert_close(weight, state[name], rtol=1e-3, atol=1e-6)
