"""Weights handed on as safetensors, taken wherever a checkpoint goes."""

import json

import pytest
import torch
from mmaction.apis import init_recognizer
from mmaction.registry import MODELS
from mmengine.runner import load_checkpoint
from safetensors import safe_open

from pan_mm.apis import PANInferencer
from pan_mm.cli import main
from pan_mm.export.weights import export_weights
from pan_mm.inference.recognizer import load_config, load_recognizer
from pan_mm.models.weight_layouts import torchvision_name
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError
from pan_mm.utils.safetensors import save_safetensors

NAMES = [f'"class" {i}' for i in range(19)]


@pytest.fixture(scope='module')
def exported(config, make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    (folder / 'labels.txt').write_text('\n'.join(NAMES))
    checkpoint = make_checkpoint(config)
    command = ['export', '--config', config, '--checkpoint', checkpoint, '--format', 'safetensors']
    command += ['--out', folder / 'pan.safetensors', '--label-map', folder / 'labels.txt']
    assert main(list(map(str, command))) == 0
    return checkpoint, folder / 'pan.safetensors'


def test_what_is_in_it(exported, config):
    checkpoint, path = exported
    with safe_open(path, 'pt') as file:
        texts, names = file.metadata(), set(file.keys())
    assert json.loads(texts['classes']) == NAMES
    assert json.loads(texts['mean']) == pytest.approx([123.675, 116.28, 103.53], rel=1e-6)
    assert json.loads(texts['std']) == pytest.approx([58.395, 57.12, 57.375], rel=1e-6)
    assert texts['config'] == load_config(config).pretty_text
    assert names == set(load_checkpoint_file(checkpoint)['state_dict'])


def test_every_place_of_a_checkpoint(exported, config, videos):
    checkpoint, path = exported
    weights = load_checkpoint_file(checkpoint)['state_dict']
    loaded = load_recognizer(config, device='cpu')
    load_checkpoint(loaded, str(path), strict=True)
    inferencer = PANInferencer(config, path, 'cpu')
    for model in (
        load_recognizer(config, path, 'cpu'),
        init_recognizer(str(config), str(path), 'cpu'),
        loaded,
        inferencer.model,
    ):
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, weights[name]), name
    (result,) = inferencer(videos / '3.mp4')
    (expected,) = PANInferencer(config, checkpoint, 'cpu')(videos / '3.mp4')
    assert result['top'][0]['name'] == f'"class" {expected["top"][0]["label"]}'


def test_pretrained_backbone(tmp_path):
    """ImageNet weights, under torchvision's names."""
    resnet = dict(type='ResNet', depth=18)
    weights = MODELS.build(dict(resnet, pretrained=None)).state_dict()
    path = tmp_path / 'r18.safetensors'
    save_safetensors(path, {torchvision_name(name): w for name, w in weights.items()})
    backbone = MODELS.build(dict(resnet, pretrained=str(path)))
    backbone.init_weights()
    for name, weight in backbone.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_another_normalisation_is_refused(exported, make_config):
    more = "model['data_preprocessor'] = dict(mean=[0.0, 0.0, 0.0])\n"
    with pytest.raises(CheckpointError, match='normalised with mean'):
        load_recognizer(make_config(more=more), exported[1], 'cpu')


def test_half_precision(exported, config, tmp_path):
    checkpoint, path = exported
    export_weights(config, checkpoint, tmp_path / 'half.safetensors', dtype=torch.float16)
    assert (tmp_path / 'half.safetensors').stat().st_size < 0.52 * path.stat().st_size
    assert load_recognizer(config, tmp_path / 'half.safetensors').cls_head.fc_cls.weight.dtype == (
        torch.float32
    )


def test_a_format_that_does_not_agree(config, tmp_path, capsys):
    command = ['export', '--config', config, '--checkpoint', 'a.pth', '--out', tmp_path / 'a.onnx']
    assert main([*map(str, command), '--format', 'safetensors']) == 1
    assert 'must end in .safetensors' in capsys.readouterr().err
