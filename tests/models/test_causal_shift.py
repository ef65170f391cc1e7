import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

import pan_mm  # noqa: F401, registers the backbones
from pan_mm.models.causal_shift import (
    CausalTemporalShift,
    TemporalShift,
    is_causal,
    shift_memory,
)

BACKBONES = [
    dict(type='ResNetCausalTSM', depth=18, pretrained2d=False),
    dict(type='ResNetCausalTSM', depth=18, pretrained2d=False, shift_place='block'),
    dict(type='MobileNetV2CausalTSM', pretrained2d=False),
]


def build(cfg, num_segments=4):
    """A backbone whose norms fit its input, so that no signal dies out on its way."""
    torch.manual_seed(0)
    backbone = MODELS.build(dict(cfg, num_segments=num_segments))
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    backbone.train()
    with torch.no_grad():
        backbone(torch.rand(2 * num_segments, 3, 32, 32))
    backbone.eval()  # returns nothing
    return backbone


def test_shift_by_hand():
    shift = CausalTemporalShift(nn.Identity(), num_segments=3, shift_div=2)
    x = torch.arange(1.0, 13).view(6, 2, 1, 1)  # two clips of three segments
    assert shift(x)[:, 0].flatten().tolist() == [0, 1, 3, 0, 7, 9]
    assert torch.equal(shift(x)[:, 1], x[:, 1])


@pytest.mark.parametrize('cfg', BACKBONES, ids=['resnet18', 'resnet18-block', 'mobilenet'])
class TestOnline:
    @torch.no_grad()
    def test_equals_the_batch(self, cfg):
        backbone = build(cfg)
        clips = torch.rand(2, 4, 3, 32, 32)
        batch = backbone(clips.flatten(0, 1)).unflatten(0, (2, 4))
        memory = {}
        with shift_memory(backbone, memory):
            online = [backbone(clips[:, i]) for i in range(4)]
        torch.testing.assert_close(torch.stack(online, 1), batch, atol=1e-5, rtol=1e-5)
        assert batch.std() > 1e-2

    @torch.no_grad()
    def test_streams_do_not_mix(self, cfg):
        backbone = build(cfg)
        one, other = torch.rand(2, 3, 1, 3, 32, 32)
        memories = {}, {}
        mixed = []
        for i in range(3):
            for memory, clip in zip(memories, (one, other)):
                with shift_memory(backbone, memory):
                    mixed.append(backbone(clip[i]))
        memory = {}
        with shift_memory(backbone, memory):
            alone = [backbone(segment) for segment in one]
        torch.testing.assert_close(torch.cat(mixed[::2]), torch.cat(alone))

    @torch.no_grad()
    def test_the_future_has_no_influence(self, cfg):
        backbone = build(cfg)
        clip = torch.rand(4, 3, 32, 32)
        changed = clip.clone()
        changed[2] += 1
        before, after = backbone(clip), backbone(changed)
        torch.testing.assert_close(after[:2], before[:2], atol=1e-6, rtol=1e-6)
        assert (after[2:] - before[2:]).abs().amax(dim=(1, 2, 3)).min() > 1e-3

    def test_weights_of_the_two_way_shift_fit(self, cfg):
        two_way = MODELS.build(dict(cfg, type=cfg['type'].replace('Causal', '')))
        build(cfg, num_segments=8).load_state_dict(two_way.state_dict())
        assert is_causal(build(cfg))
        assert not is_causal(two_way)
        assert any(isinstance(m, TemporalShift) for m in two_way.modules())


def test_gradients_flow():
    backbone = build(BACKBONES[0])
    backbone.train()
    backbone(torch.rand(8, 3, 32, 32)).sum().backward()
    gradients = [p.grad for p in backbone.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_what_looks_ahead_is_refused():
    with pytest.raises(ValueError, match='look ahead'):
        MODELS.build(dict(BACKBONES[0], temporal_pool=True))
