"""Training channels-last is the same training."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from pan_mm.engine import ChannelsLastHook

CONFIGS = Path(__file__).resolve().parents[3] / 'configs/recognition'


def step(model, shape):
    """Loss and gradients of one batch, in the precision of the model."""
    generator = torch.Generator().manual_seed(0)
    videos = [torch.randint(256, shape, generator=generator).to(torch.uint8) for _ in range(2)]
    data_samples = [ActionDataSample().set_gt_label(label) for label in range(2)]
    data = model.data_preprocessor(dict(inputs=videos, data_samples=data_samples), training=True)
    data['inputs'] = data['inputs'].to(next(model.parameters()).dtype)
    loss = model(**data, mode='loss')['loss_cls']
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(
    ('config', 'shape', 'memory_format'),
    [
        ('pan/pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth', (32, 3, 32, 32), torch.channels_last),
        (
            'slowonly/slowonly_r18_1xb16-8x1-30e_utd-mhad-depth',
            (1, 3, 8, 32, 32),
            torch.channels_last_3d,
        ),
    ],
)
def test_same_step(config, shape, memory_format):
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    assert HOOKS.build(cfg.custom_hooks[0]).__class__ is ChannelsLastHook
    cfg.model.cls_head.dropout_ratio = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).double()
    loss, gradients = step(model, shape)
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    same_loss, same_gradients = step(model, shape)
    assert same_loss == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-6, atol=1e-8, msg=name)
    formats = []
    backbone = getattr(model.backbone, 'backbone', model.backbone)
    backbone.layer2.register_forward_hook(
        lambda module, args, out: formats.append(out.is_contiguous(memory_format=memory_format))
    )
    step(model.float(), shape)
    assert formats == [True]
