import pytest
import torch
from mmaction.registry import MODELS

from builders import stands_where_pa_stands
from pan_mm.models import FrameDifference

PA = dict(type='PersistenceOfAppearance', init_std=0.1)


@pytest.mark.parametrize('absolute', [True, False])
@pytest.mark.parametrize('gray', [True, False])
def test_values(absolute, gray):
    frames = torch.randn(2, 4, 3, 8, 10)  # two segments of four frames
    maps = FrameDifference(absolute, gray)(frames)
    for segment in range(2):
        for pair in range(3):
            wanted = frames[segment, pair + 1] - frames[segment, pair]
            wanted = wanted.mean(0, keepdim=True) if gray else wanted
            wanted = wanted.abs() if absolute else wanted
            own = maps[segment].unflatten(0, (3, -1))[pair]
            torch.testing.assert_close(own, wanted)


def test_deltas_come_on_top_of_the_noise():
    torch.manual_seed(0)
    plain = MODELS.build(dict(PA)).conv.weight
    torch.manual_seed(0)
    delta = MODELS.build(dict(PA, init_delta=0.5)).conv.weight - plain
    wanted = torch.zeros_like(delta)
    for channel in range(3):
        wanted[channel, channel, 3, 3] = 0.5
    torch.testing.assert_close(delta, wanted)


@pytest.mark.parametrize(('is_gray', 'maps'), [(True, 1), (False, 3)])
def test_stands_where_pa_stands(is_gray, maps):
    stands_where_pa_stands(dict(type='FrameDifference', gray=is_gray), maps)


def test_frames_that_do_not_fit():
    with pytest.raises(ValueError, match='m >= 2'):
        FrameDifference()(torch.rand(2, 1, 3, 8, 8))
    with pytest.raises(ValueError, match='normalized and floating point, got torch.uint8'):
        FrameDifference()(torch.zeros(2, 2, 3, 8, 8, dtype=torch.uint8))
