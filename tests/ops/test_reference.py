"""The definition of PA, by numbers that are worked out by hand."""

import pytest
import torch

from pan_mm.ops.reference import frame_differences, persistence_reference

EPS = 1e-6


def test_one_pixel_by_hand():
    frames = torch.zeros(1, 2, 1, 3, 3)
    frames[0, 0, 0, 1, 1] = 2.0
    weight = torch.tensor([3.0, 4.0]).view(2, 1, 1, 1)
    expected = torch.zeros(1, 1, 3, 3)
    expected[0, 0, 1, 1] = 10.0  # ‖(2·3, 2·4)‖
    torch.testing.assert_close(persistence_reference(frames, weight, 0.0), expected)


def test_eps_is_added_to_the_earlier_frame_less_the_later():
    frames = torch.tensor([2.0, 5.0, 4.0]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 2, 2)
    maps = persistence_reference(frames, torch.ones(1, 1, 1, 1), eps=0.5)
    # |2 − 5 + 0.5| and |5 − 4 + 0.5|
    torch.testing.assert_close(maps, torch.tensor([2.5, 1.5]).view(1, 2, 1, 1).expand(1, 2, 2, 2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_still_frames_have_the_norm_of_eps(dtype):
    """Its square would be zero in half precision."""
    frames = torch.ones(1, 2, 3, 4, 4, dtype=dtype)
    maps = persistence_reference(frames, torch.ones(8, 3, 3, 3, dtype=dtype))
    expected = torch.full((1, 1, 4, 4), 8**0.5 * EPS, dtype=dtype)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=6e-8)
    if dtype == torch.float64:
        torch.testing.assert_close(maps, expected, rtol=1e-12, atol=0)


def test_a_filter_sees_its_window_and_zeros_beyond_the_edge():
    frames = torch.zeros(1, 2, 1, 2, 3)
    frames[0, 0] = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    weight = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    maps = persistence_reference(frames, weight, 0.0)
    # The pixel below the window's center has weight 8, the one right of it 6, and so on.
    first = 5 * 1 + 6 * 2 + 8 * 4 + 9 * 5
    last = 1 * 2 + 2 * 3 + 4 * 5 + 5 * 6
    assert maps[0, 0, 0, 0] == first and maps[0, 0, 1, 2] == last


def test_clips_and_pairs_keep_their_places():
    frames = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64)
    weight = torch.randn(8, 3, 3, 3, dtype=torch.float64)
    maps = persistence_reference(frames, weight)
    assert maps.shape == (2, 3, 5, 6)
    for clip in range(2):
        for pair in range(3):
            alone = persistence_reference(frames[clip : clip + 1, pair : pair + 2], weight)
            torch.testing.assert_close(maps[clip, pair], alone[0, 0])


@pytest.mark.parametrize(
    ('frames', 'weight', 'maps'),
    [
        (torch.uint8, torch.float32, torch.float32),
        (torch.uint8, torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float32, torch.float16),
        (torch.float64, torch.float64, torch.float64),
    ],
)
def test_maps_have_the_dtype_of_frames_or_of_filters_for_raw_ones(frames, weight, maps):
    values = torch.tensor([3, 200]).view(1, 2, 1, 1, 1).to(frames)
    found = persistence_reference(values, torch.ones(1, 1, 1, 1, dtype=weight))
    assert found.dtype == maps and found.item() == pytest.approx(197, rel=4e-3)


def test_differences_are_rounded_after_they_are_taken():
    frames = torch.tensor([256.0, 257.0]).view(1, 2, 1, 1, 1)
    assert frame_differences(frames, torch.bfloat16).item() == -1  # 257 is no bfloat16
    assert frame_differences(frames, torch.bfloat16).dtype == torch.bfloat16
