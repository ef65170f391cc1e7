"""Weights to hand on: whole, and nothing but numbers and texts."""

import io
import json

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from pan_mm.utils.checkpoint import check_resumable, load_checkpoint_file
from pan_mm.utils.errors import CheckpointError
from pan_mm.utils.safetensors import load_safetensors, save_safetensors

WEIGHTS = {
    'conv.weight': torch.randn(4, 3, 2),
    'steps': torch.tensor(3),
    'half': torch.randn(5).half(),
    'brain': torch.randn(5).bfloat16(),
    'mask': torch.tensor([True, False]),
    'empty': torch.zeros(0, 3),
}
TEXTS = dict(config='x = 1\n', classes=['né', 'b'], mean=[1.5, 2.0], std=[1.0, 3.0])


@pytest.fixture
def path(tmp_path):
    save_safetensors(tmp_path / 'a.safetensors', WEIGHTS, **TEXTS)
    return tmp_path / 'a.safetensors'


def test_every_loader(path, tmp_path):
    (tmp_path / 'misnamed.pth').write_bytes(path.read_bytes())
    read = [
        load_checkpoint_file(path),
        load_checkpoint_file(tmp_path / 'misnamed.pth'),
        CheckpointLoader.load_checkpoint(str(path)),
    ]
    for checkpoint in read:
        assert checkpoint['state_dict'].keys() == WEIGHTS.keys()
        for name, weight in WEIGHTS.items():
            assert torch.equal(checkpoint['state_dict'][name], weight), name
            assert checkpoint['state_dict'][name].dtype == weight.dtype
        assert checkpoint['meta']['dataset_meta'] == dict(classes=['né', 'b'])
        assert checkpoint['meta']['mean'] == [1.5, 2.0]
    assert [checkpoint['meta'].get('cfg') for checkpoint in read] == ['x = 1\n'] * 2 + [None]


def test_half_precision_and_shared_memory(tmp_path):
    weight = torch.randn(6, 6).t()
    path = tmp_path / 'a.safetensors'
    save_safetensors(path, dict(a=weight, b=weight, n=torch.tensor(7)), torch.float16)
    state = load_safetensors(path)['state_dict']
    assert torch.equal(state['a'], weight.half()) and torch.equal(state['b'], weight.half())
    assert state['n'].dtype == torch.int64
    assert path.stat().st_size < 800


def test_a_header_that_claims_more_than_there_is(tmp_path):
    header = json.dumps(dict(a=dict(dtype='F32', shape=[10**10], data_offsets=[0, 4]))).encode()
    for length in (len(header), 2**40):
        (tmp_path / 'a.pth').write_bytes(length.to_bytes(8, 'little') + header)
        with pytest.raises(CheckpointError, match='is not a safetensors file, or is damaged'):
            load_checkpoint_file(tmp_path / 'a.pth')


def test_no_training_is_resumed_from_it(path):
    checkpoint = load_checkpoint_file(path)
    with pytest.raises(CheckpointError, match=r'a\.safetensors holds no state of a.*load_from'):
        check_resumable(checkpoint, 'a.safetensors')
    torch.save(checkpoint, io.BytesIO())


def test_what_was_there_stays_when_writing_fails(path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_safetensors(path, WEIGHTS, config=object())
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
