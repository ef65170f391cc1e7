"""PA as attention: a stream of its own in projects/pa_attention."""

import pytest
import torch

from pan_mm.models import PANBackbone
from projects.pa_attention import AttentionPANBackbone

R18 = dict(type='mmaction.ResNetTSM', depth=18)


def build(backbone=R18, **kwargs):
    return AttentionPANBackbone(dict(backbone), **kwargs)


def test_weighs_what_moves():
    rgb = PANBackbone(dict(R18), stream='rgb', num_segments=2)
    attention = build(num_segments=2)
    name = 'backbone.conv1.conv'
    own = {'persistence.conv.weight': 0.1 * torch.randn(8, 3, 7, 7)}
    own[f'{name}.strength'] = torch.ones(())  # the stem's weight: under its name without `net`
    attention.load_state_dict(rgb.state_dict() | own)
    features = {}
    for key, model in (('rgb', rgb), ('attention', attention)):
        model.eval().get_submodule(name).register_forward_hook(
            lambda module, args, output, key=key: features.update({key: output})
        )
    still = torch.randn(2, 1, 3, 33, 48).expand(-1, 4, -1, -1, -1).clone()
    torch.testing.assert_close(
        attention(still.flatten(0, 1)), rgb(still.flatten(0, 1)), rtol=1e-4, atol=1e-4
    )
    still[:, 2:, :, :16] += 1  # something moves in the upper half
    attention(still.flatten(0, 1))
    rgb(still.flatten(0, 1))
    gain = features['attention'] / features['rgb']
    maps = attention.persistence(still)  # (2, 3, 33, 48)
    weights = torch.nn.functional.pad(maps.mean(1, keepdim=True), (0, 0, 0, 1), value=torch.nan)
    weights = weights.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).nanmean(dim=(3, 5))
    torch.testing.assert_close(gain, (1 + weights.tanh()).expand_as(gain), rtol=1e-3, atol=1e-3)
    assert gain[:, :, :8].mean() > 1.2


@pytest.mark.parametrize('changes', [dict(stream='lite'), dict(clip_len=1)])
def test_other_streams(changes):
    with pytest.raises(ValueError, match="needs stream='attention' and clip_len >= 2"):
        build(**changes)
