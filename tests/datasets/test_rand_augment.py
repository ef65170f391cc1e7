import numpy as np
import pytest

from pan_mm.datasets import ClipRandAugment
from pan_mm.datasets.rand_augment import OPERATIONS


@pytest.fixture
def image():
    """A picture of all shades, brighter to the lower right, and a bright spot."""
    rows, columns = np.mgrid[:48, :64]
    image = np.stack([2 * rows, 3 * columns, rows + columns], axis=2)
    image[10:14, 10:14] = 250
    return image.astype(np.uint8)


@pytest.mark.parametrize('strength', [-0.9, 0.9])
@pytest.mark.parametrize('name', OPERATIONS)
def test_an_operation_changes_an_image_and_no_more_than_that(name, strength, image):
    before = image.copy()
    after = OPERATIONS[name](image, strength)
    np.testing.assert_array_equal(image, before)
    assert after.shape == image.shape and after.dtype == np.uint8
    assert (after != image).mean() > 0.01


@pytest.mark.parametrize('name', sorted(set(OPERATIONS) - {'auto_contrast', 'equalize'}))
def test_without_strength_there_is_no_change(name, image):
    after = OPERATIONS[name](image, 0.0).astype(int)
    assert np.abs(after - image).max() <= 1


def test_translation_goes_as_far_as_it_says(image):
    after = OPERATIONS['translate_x'](image, 0.5)  # 0.15 of 64 pixels are 9.6
    spot = np.argwhere(after[12] >= 245).mean(axis=0)[0]
    assert spot == pytest.approx(11.5 + 9.6, abs=0.6)
    assert (after[:, :9] == 128).all()


def test_all_frames_of_a_clip_get_the_same(image):
    augment = ClipRandAugment(num_ops=3)
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        first, *others = augment(dict(imgs=[image.copy() for _ in range(4)]))['imgs']
        assert all((other == first).all() for other in others)
        seen.add(first.tobytes())
    assert len(seen) > 15
