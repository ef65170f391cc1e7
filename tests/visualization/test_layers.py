"""Layers of a clip side by side."""

import numpy as np

from pan_mm.visualization import Inspection
from pan_mm.visualization.layers import frames_of, grid_of, layers_of

T, M, SIZE = 2, 3, 32


def inspection():
    """Frames of one gray each, and maps that are bright in the last pair."""
    grays = np.arange(T * M, dtype=np.uint8).reshape(T, M, 1, 1, 1) * 40
    frames = np.broadcast_to(grays, (T, M, SIZE, SIZE, 3))
    maps = np.zeros((T, M - 1, SIZE, SIZE), np.float32)
    maps[:, -1] = 1
    return Inspection(np.ascontiguousarray(frames), maps, None, np.ones(5) / 5)


def test_what_is_shown_of_each_pair():
    cam = np.full((T, M, SIZE, SIZE, 3), 7, np.uint8)
    layers = layers_of(inspection(), flow=True, cam=cam)
    assert {name: of.shape[:2] for name, of in layers.items()} == {
        'frame': (T, M - 1), 'PA': (T, M - 1), 'flow': (T, M - 1), 'GradCAM': (T, 1),
    }  # fmt: skip
    assert layers['PA'][:, 1].mean() > layers['PA'][:, 0].mean() + 50
    assert layers['flow'].max() == 0  # one gray moves nowhere


def test_a_grid_shows_the_first_frame_and_each_map():
    layers = layers_of(inspection())
    grid = grid_of(layers, SIZE)
    grays = [(grid == 40 * value).all(2).sum() for value in range(1, T * M)]
    assert grays[2] >= SIZE**2 and max(grays[3:]) < SIZE  # of segment 2 the first frame
    bright = (grid == layers['PA'][0, 1, 0, 0]).all(2).sum()
    assert bright == T * SIZE**2


def test_an_animation_moves_through_the_frames():
    pictures = list(frames_of(layers_of(inspection()), SIZE))
    assert len(pictures) == T * (M - 1)
    for picture, value in zip(pictures, (0, 1, 3, 4)):
        assert (picture == 40 * value).all(2).sum() >= SIZE**2
