"""Inspection shows the values that the model computes."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pan_mm.visualization import inspect_clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=['rgb', 'pa', 'lite'])
def model(request):
    init_default_scope('mmaction')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/pan_r18.py')
    cfg.model.backbone.update(stream=request.param, num_segments=4)
    cfg.model.cls_head.update(num_classes=5, num_segments=4)
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def test_same_numbers_and_no_trace(model):
    inputs = torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    seen = inspect_clip(model, inputs)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (seen.frames[1, 2] == inputs[6].permute(1, 2, 0).numpy()).all()
    model.eval()
    x = model.data_preprocessor(dict(inputs=[inputs], data_samples=[]))['inputs']
    with torch.no_grad():
        logits, _ = model.extract_feat(x, stage='head')
    torch.testing.assert_close(torch.from_numpy(seen.scores), logits[0].softmax(0))
    assert seen.vap_weights.shape == (3,)
    assert seen.vap_weights.sum() == pytest.approx(1)
    if model.backbone.stream == 'rgb':
        assert seen.pa_maps is None
    else:
        pair = x[0][4:6].unsqueeze(0)
        expected = model.backbone.persistence(pair)[0, 0].detach()
        torch.testing.assert_close(torch.from_numpy(seen.pa_maps[1, 0]), expected)


def test_too_few_frames(model):
    with pytest.raises(ValueError, match='has 16 frames, got 8'):
        inspect_clip(model, torch.zeros(8, 3, 32, 32))


def test_of_an_ensemble_the_first_stream_with_pa():
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/pan_r18.py').model
    cfg.backbone.update(num_segments=4)
    cfg.cls_head.update(num_classes=5, num_segments=4)
    cfg.backbone.pop('stream', None)
    cfg.update(type='PANEnsemble', streams=dict(rgb=dict(), pa=dict(), lite=dict()))
    torch.manual_seed(0)
    ensemble = MODELS.build(cfg).eval()
    inputs = torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8)
    seen = inspect_clip(ensemble, inputs)
    x = ensemble.data_preprocessor(dict(inputs=[inputs], data_samples=[]))['inputs']
    with torch.no_grad():
        logits, _ = ensemble.streams['pa'].extract_feat(x, stage='head')
    torch.testing.assert_close(torch.from_numpy(seen.scores), logits[0].softmax(0))
    assert seen.pa_maps.shape == (4, 3, 32, 32)
