import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from pan_mm.models import PersistenceOfAppearance
from pan_mm.ops import persistence_of_appearance


class TestValues:
    def test_one_pixel_by_hand(self):
        frames = torch.zeros(1, 2, 1, 3, 3)
        frames[0, 0, 0, 1, 1] = 2.0
        weight = torch.tensor([3.0, 4.0]).view(2, 1, 1, 1)
        maps = persistence_of_appearance(frames, weight, eps=0.0)
        expected = torch.zeros(1, 1, 3, 3)
        expected[0, 0, 1, 1] = 10.0  # ‖(2·3, 2·4)‖
        torch.testing.assert_close(maps, expected)

    def test_equals_the_formula_on_every_frame(self):
        """The difference-first form equals features first, with a bias, differences after."""
        frames, weight = torch.randn(2, 4, 3, 9, 11), torch.randn(8, 3, 7, 7)
        features = torch.nn.functional.conv2d(
            frames.flatten(0, 1), weight, bias=torch.randn(8), padding=3
        ).view(2, 4, 8, 9, 11)
        expected = (features[:, :-1] - features[:, 1:] + 1e-6).pow(2).sum(2).sqrt()
        torch.testing.assert_close(
            persistence_of_appearance(frames, weight), expected, rtol=1e-4, atol=1e-4
        )

    @pytest.mark.parametrize('stream', ['lite', 'pa'])
    def test_equals_the_authors_code(self, parity_dir, fixture_value, stream):
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

    def test_other_strides_give_the_same(self):
        pa = PersistenceOfAppearance(init_std=0.1)
        frames = torch.randn(2, 4, 3, 8, 10)
        strided = frames.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        torch.testing.assert_close(pa(strided), pa(frames))


class TestOptions:
    def test_raw_frames_give_the_maps_of_normalised_ones(self):
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
    def test_gradcheck(self):
        frames = torch.randn(1, 3, 2, 4, 5, dtype=torch.double, requires_grad=True)
        weight = torch.randn(3, 2, 3, 3, dtype=torch.double, requires_grad=True)
        assert gradcheck(persistence_of_appearance, (frames, weight))

    @pytest.mark.parametrize('autocast', [None, torch.bfloat16, torch.float16])
    def test_identical_frames_give_zero_gradients(self, autocast):
        pa = PersistenceOfAppearance(init_std=0.1)
        frames = torch.rand(1, 1, 3, 8, 8).expand(2, 4, 3, 8, 8)
        with torch.autocast('cpu', autocast or torch.bfloat16, enabled=autocast is not None):
            maps = pa(frames)
        maps.sum().backward()
        torch.testing.assert_close(maps, torch.full_like(maps, 8**0.5 * 1e-6))
        assert (pa.conv.weight.grad == 0).all()

    @pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
    def test_autocast_is_close_to_float32(self, dtype):
        pa = PersistenceOfAppearance(init_std=0.1)
        frames = torch.randn(2, 4, 3, 16, 16)
        expected = pa(frames)
        with torch.autocast('cpu', dtype):
            maps = pa(frames)
        assert maps.dtype == torch.float32
        assert (maps - expected).abs().max() < 0.02 * expected.max()

    def test_large_half_precision_frames_stay_finite(self):
        """Squares of 300 overflow float16 (65504); the norm must not be taken there."""
        frames = torch.zeros(1, 2, 3, 8, 8, dtype=torch.float16)
        frames[:, 0] = 300
        maps = persistence_of_appearance(frames, torch.eye(3)[..., None, None].half())
        torch.testing.assert_close(
            maps.float(), torch.full((1, 1, 8, 8), 300 * 3**0.5), rtol=1e-3, atol=0
        )


class TestErrors:
    @pytest.mark.parametrize(
        ('frames', 'weight', 'message'),
        [
            ((1, 1, 3, 8, 8), (8, 3, 7, 7), 'm >= 2'),
            ((4, 3, 8, 8), (8, 3, 7, 7), 'm >= 2'),
            ((1, 2, 3, 8, 8), (8, 1, 7, 7), r'\(K, 3, k, k\)'),
            ((1, 2, 3, 8, 8), (8, 3, 4, 4), 'odd'),
        ],
    )
    def test_wrong_shapes_are_named(self, frames, weight, message):
        with pytest.raises(ValueError, match=message):
            persistence_of_appearance(torch.rand(frames), torch.rand(weight))

    def test_even_kernel(self):
        with pytest.raises(ValueError, match='kernel_size must be odd'):
            PersistenceOfAppearance(kernel_size=4)
