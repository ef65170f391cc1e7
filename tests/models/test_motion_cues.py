import pytest
import torch
from mmaction.registry import MODELS

from pan_mm.models import FrameDifference, PANBackbone

PA = dict(type='PersistenceOfAppearance', init_std=0.1)
R18 = dict(type='mmaction.ResNetTSM', depth=18)


@pytest.fixture
def frames():
    """Two segments of four frames."""
    return torch.randn(2, 4, 3, 8, 10)


class TestFrameDifference:
    @pytest.mark.parametrize('absolute', [True, False])
    @pytest.mark.parametrize('gray', [True, False])
    def test_values(self, frames, absolute, gray):
        maps = FrameDifference(absolute, gray)(frames)
        for segment in range(2):
            for pair in range(3):
                wanted = frames[segment, pair + 1] - frames[segment, pair]
                wanted = wanted.mean(0, keepdim=True) if gray else wanted
                wanted = wanted.abs() if absolute else wanted
                own = maps[segment].unflatten(0, (3, -1))[pair]
                torch.testing.assert_close(own, wanted)

    def test_begins_where_pa_with_deltas_begins(self, frames):
        """PA's filters that only hold a delta for each channel give the norm over the channels."""
        pa = MODELS.build(dict(PA, init_std=0.0, init_delta=1.0, eps=0.0))
        colours = FrameDifference(gray=False)(frames).unflatten(1, (3, 3))
        torch.testing.assert_close(pa(frames), colours.norm(dim=2))


def test_deltas_come_on_top_of_the_noise():
    torch.manual_seed(0)
    plain = MODELS.build(dict(PA)).conv.weight
    torch.manual_seed(0)
    delta = MODELS.build(dict(PA, init_delta=0.5)).conv.weight - plain
    wanted = torch.zeros_like(delta)
    for channel in range(3):
        wanted[channel, channel, 3, 3] = 0.5
    torch.testing.assert_close(delta, wanted)


@pytest.mark.parametrize(
    ('cue', 'maps'),
    [
        (dict(type='FrameDifference'), 1),
        (dict(type='FrameDifference', gray=False), 3),
    ],
)
@pytest.mark.parametrize('stream', ['pa', 'lite'])
def test_stands_where_pa_stands(cue, maps, stream):
    sizes = dict(num_segments=2, clip_len=3)
    backbone = PANBackbone(dict(R18), stream=stream, motion_cue=cue, **sizes).eval()
    stem = backbone.backbone.get_submodule(backbone.stem_name)
    assert stem.in_channels == {'pa': 2 * maps, 'lite': 2 * maps + 3}[stream]
    assert backbone(torch.randn(2 * 3, 3, 32, 32)).shape == (2, 512, 1, 1)
    twin = PANBackbone(dict(R18), stream=stream, motion_cue=cue, **sizes)
    twin.load_state_dict(backbone.state_dict())


def test_frames_that_do_not_fit():
    cue = FrameDifference()
    with pytest.raises(ValueError, match='m >= 2'):
        cue(torch.rand(2, 1, 3, 8, 8))
    with pytest.raises(ValueError, match='normalized and floating point, got torch.uint8'):
        cue(torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8))
