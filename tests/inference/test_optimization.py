"""An optimized recognizer predicts what the recognizer predicts."""

import copy

import pytest
import torch
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from torch import nn

from pan_mm.apis import PANInferencer
from pan_mm.inference.optimization import optimize, shift_once
from pan_mm.inference.recognizer import load_config

BOUNDS = [((), 1e-4), (('half',), 2e-2)]


def make_recognizer(config, **changes):
    """A recognizer whose norms and scores are those of no fresh one."""
    cfg = Config.fromfile(config).model
    cfg.update(changes)
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.4, 0.8)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
        elif type(module).__name__ == 'PersistenceOfAppearance':
            nn.init.normal_(module.conv.weight, std=0.05)
    return model


def probabilities(model, num_videos=2):
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8, generator=generator)
        for _ in range(num_videos)
    ]
    samples = [ActionDataSample() for _ in inputs]
    with torch.no_grad():
        samples = model.test_step(dict(inputs=inputs, data_samples=samples))
    return torch.stack([sample.pred_score for sample in samples]).softmax(1)


@pytest.mark.parametrize(('extras', 'bound'), BOUNDS)
@pytest.mark.parametrize('stream', ['rgb', 'pa', 'lite'])
def test_same_predictions(make_config, stream, extras, bound):
    model = make_recognizer(make_config(stream))
    expected = probabilities(model)
    assert expected.std() > 1e-2  # or any model would do
    quick = optimize(copy.deepcopy(model), extras)
    scores = probabilities(quick)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in quick.modules())
    assert scores.dtype == torch.float32
    assert (scores - expected).abs().max() <= bound
    assert torch.equal(scores.argmax(1), expected.argmax(1))


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_shift_once_is_the_shift(memory_format):
    x = torch.randn(6, 16, 4, 5).contiguous(memory_format=memory_format)
    shifted = shift_once(x, 3, shift_div=8)
    assert torch.equal(shifted, TemporalShift.shift(x, 3, shift_div=8))
    assert shifted.is_contiguous(memory_format=memory_format)


@pytest.mark.slow
def test_compile(make_config, inductor_cache):
    """Of the first stage alone, shifts included, for it compiles slowly."""
    model = make_recognizer(make_config(more="model['cls_head']['in_channels'] = 64"))
    resnet = model.backbone.backbone
    resnet.res_layers, resnet.out_indices = ['layer1'], (0,)
    expected = probabilities(model)
    scores = probabilities(optimize(model, ['compile']))
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4)


def test_errors(config, tmp_path):
    with pytest.raises(ValueError, match='optimize knows half, compile, got int8'):
        optimize(make_recognizer(config), ['int8'])
    with pytest.raises(ValueError, match=r'pan\.onnx is exported'):
        PANInferencer(config, tmp_path / 'pan.onnx', optimize=())


def test_a_3d_recognizer_and_one_without_pan():
    for name in ('slowonly_r18_1xb16-8x1', 'tsm_r18_1xb16-1x1x8'):
        cfg = load_config(f'{name}-30e_utd-mhad-depth')
        model = MODELS.build(cfg.model).eval()
        shape = (1, 1, 3, 8, 64, 64) if 'slowonly' in name else (1, 8, 3, 64, 64)
        clip = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(clip, mode='tensor', stage='head')[0]
            found = optimize(model)(clip, mode='tensor', stage='head')[0]
        assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
