"""Pictures show what they are given."""

import cv2
import numpy as np
import pytest
from PIL import Image

from pan_mm.visualization import (
    optical_flow,
    paint_flow,
    paint_maps,
    tile,
    weights_chart,
    write_animation,
)


def test_brighter_is_more():
    painted = paint_maps(np.linspace(0, 1, 64).reshape(8, 8), peak=1).astype(int)
    assert painted.shape == (8, 8, 3)
    brightness = painted.sum(axis=2).reshape(-1)
    assert brightness[0] < 20
    assert (np.diff(brightness) >= -3).all()  # the color map is even but for its rounding


def test_maps_given_together_share_the_scale():
    maps = np.stack([np.full((8, 8), 1.0), np.full((8, 8), 4.0)])
    weak, strong = paint_maps(maps)
    assert strong.mean() > weak.mean() + 50


def test_flow_follows_the_motion():
    image = np.zeros((64, 64, 3), np.uint8)
    cv2.circle(image, (24, 32), 10, (200, 200, 200), -1)
    cv2.circle(image, (24, 32), 5, (90, 90, 90), -1)
    flow = optical_flow(np.stack([image, np.roll(image, 3, axis=1)]))
    assert flow.shape == (1, 64, 64, 2)
    horizontal, vertical = np.median(flow[0, 28:36, 20:30], axis=(0, 1))
    assert horizontal == pytest.approx(3, abs=0.7)
    assert vertical == pytest.approx(0, abs=0.7)


def test_opposite_directions_have_other_hues():
    flow = np.zeros((2, 4, 4, 2), np.float32)
    flow[0, ..., 0], flow[1, ..., 0] = 2, -2
    right, left = paint_flow(flow)
    assert abs(right.astype(int) - left).max() > 200
    assert paint_flow(np.zeros((4, 4, 2), np.float32)).max() == 0


def test_tile_holds_every_picture():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    pictures = [np.full((10, 20, 3), color, np.uint8) for color in colors]
    grid = tile([pictures[:2], pictures[2:]], ['above', 'below'], ['one', 'two'], width=20)
    for color in colors:
        assert (grid == color).all(axis=2).sum() == 200
    assert (grid < 100).all(axis=2).any()  # the names


def test_chart_shows_the_largest_weight():
    equal, one = np.full(7, 1 / 7), np.eye(7)[6]
    bar = (58, 110, 165)
    columns = [(weights_chart(w) == bar).all(axis=2).sum(axis=0) for w in (equal, one)]
    assert columns[0][columns[0] > 1].std() < 1  # all bars of one height
    assert columns[1][:300].max() <= 2
    assert columns[1][300:].max() > 100


@pytest.mark.parametrize('suffix', ['.gif', '.mp4'])
def test_animation(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    write_animation(path, [np.full((32, 48, 3), 60 * i, np.uint8) for i in range(4)], fps=5)
    if suffix == '.gif':
        image = Image.open(path)
        assert (image.n_frames, image.info['duration']) == (4, 200)
    else:
        capture = cv2.VideoCapture(str(path))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
        assert capture.read()[1].mean() < 10


def test_other_suffix(tmp_path):
    with pytest.raises(ValueError, match='.gif or .mp4'):
        write_animation(tmp_path / 'a.webm', [np.zeros((8, 8, 3), np.uint8)])
