import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from pan_mm.models import PersistenceOfAppearance


@pytest.mark.parametrize('stream', ['lite', 'pa'])
def test_equals_the_authors_code(parity_dir, fixture_value, stream):
    expected = np.load(parity_dir / f'expected_{stream}_r50.npz')['pa_first_segment']
    pa = PersistenceOfAppearance()
    pa.conv.weight.data = fixture_value('PA.shallow_conv.weight', [8, 3, 7, 7])
    frames = fixture_value.frames()[0, :1]
    maps = pa(frames).detach().numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize('kernel_size', [3, 5])
def test_filters_are_an_option(kernel_size):
    pa = PersistenceOfAppearance(in_channels=1, num_filters=4, kernel_size=kernel_size)
    assert pa(torch.rand(2, 3, 1, 8, 8)).shape == (2, 2 * pa.maps_per_pair, 8, 8)
    assert sum(p.numel() for p in pa.parameters()) == 4 * kernel_size**2


class TestStart:
    def test_filters_are_the_papers_and_small(self):
        weight = PersistenceOfAppearance().conv.weight
        assert weight.shape == (8, 3, 7, 7) and PersistenceOfAppearance().conv.bias is None
        assert weight.std().item() == pytest.approx(0.001, rel=0.1)
        assert weight.mean().abs() < 0.0002

    def test_with_a_delta_it_is_the_norm_of_the_differences(self):
        pa = PersistenceOfAppearance(init_std=0, init_delta=2, eps=0)
        frames = torch.randn(1, 2, 3, 5, 6)
        expected = 2 * (frames[:, 0] - frames[:, 1]).norm(dim=1, keepdim=True)
        torch.testing.assert_close(pa(frames), expected)


class TestOptions:
    def test_raw_frames_give_the_maps_of_normalized_ones(self):
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((120.0, 110.0, 100.0), (58, 57, 56)))
        pa = PersistenceOfAppearance(init_std=0.1, std=std.flatten().tolist())
        raw = torch.randint(256, (2, 4, 3, 8, 10), dtype=torch.uint8)
        torch.testing.assert_close(pa(raw), pa((raw - mean) / std), rtol=1e-4, atol=1e-5)

    def test_backend_is_the_one_asked_for(self, monkeypatch):
        frames = torch.randn(1, 2, 3, 8, 8)
        pa = PersistenceOfAppearance(backend='reference')
        monkeypatch.setattr('pan_mm.ops.cpu.forward', None)  # not callable
        pa(frames)
        pa.backend = 'cpu'
        with pytest.raises(TypeError, match='not callable'):
            pa(frames)

    def test_what_does_not_fit(self):
        with pytest.raises(ValueError, match="one of auto, .* got 'gpu'"):
            PersistenceOfAppearance(backend='gpu')
        with pytest.raises(ValueError, match='kernel_size must be odd'):
            PersistenceOfAppearance(kernel_size=4)


def test_configs_find_it():
    assert MODELS.get('PersistenceOfAppearance') is PersistenceOfAppearance
