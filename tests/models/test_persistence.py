import numpy as np
import pytest
import torch

from pan_mm.models import PersistenceOfAppearance


@pytest.mark.parametrize('stream', ['lite', 'pa'])
def test_equals_the_authors_code(parity_dir, fixture_value, stream):
    expected = np.load(parity_dir / f'expected_{stream}_r50.npz')['pa_first_segment']
    pa = PersistenceOfAppearance()
    pa.conv.weight.data = fixture_value('PA.shallow_conv.weight', [8, 3, 7, 7])
    frames = fixture_value.frames()[0, :1]
    maps = pa(frames).detach().numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


class TestShapes:
    @pytest.mark.parametrize('clip_len', [2, 3, 6])
    @pytest.mark.parametrize('size', [(1, 1), (7, 5), (33, 64)])
    def test_keeps_resolution(self, clip_len, size):
        frames = torch.rand(1, clip_len, 3, *size)
        assert PersistenceOfAppearance()(frames).shape == (1, clip_len - 1, *size)

    def test_filters_are_an_option(self):
        pa = PersistenceOfAppearance(in_channels=1, num_filters=4, kernel_size=3)
        assert pa(torch.rand(2, 3, 1, 8, 8)).shape == (2, 2, 8, 8)
        assert sum(p.numel() for p in pa.parameters()) == 4 * 9


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

    def test_raw_frames_need_std(self):
        with pytest.raises(ValueError, match='uint8 frames need std'):
            PersistenceOfAppearance()(torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8))

    def test_backend_is_the_one_asked_for(self, monkeypatch):
        frames = torch.randn(1, 2, 3, 8, 8)
        pa = PersistenceOfAppearance(backend='reference')
        monkeypatch.setattr('pan_mm.ops.cpu.forward', None)  # not callable
        pa(frames)
        pa.backend = 'cpu'
        with pytest.raises(TypeError, match='not callable'):
            pa(frames)

    def test_unknown_backend(self):
        with pytest.raises(ValueError, match="one of auto, .* got 'gpu'"):
            PersistenceOfAppearance(backend='gpu')


class TestGradients:
    @pytest.mark.parametrize('autocast', [None, torch.bfloat16, torch.float16])
    def test_identical_frames_give_zero_gradients(self, autocast):
        pa = PersistenceOfAppearance(init_std=0.1)
        frames = torch.rand(1, 1, 3, 8, 8).expand(2, 4, 3, 8, 8)
        with torch.autocast('cpu', autocast or torch.bfloat16, enabled=autocast is not None):
            maps = pa(frames)
        maps.sum().backward()
        torch.testing.assert_close(maps, torch.full_like(maps, 8**0.5 * 1e-6))
        assert (pa.conv.weight.grad == 0).all()


def test_even_kernel():
    with pytest.raises(ValueError, match='kernel_size must be odd'):
        PersistenceOfAppearance(kernel_size=4)
