"""Pictures show what they are given."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from PIL import Image

from pan_mm.visualization import Inspection, inspect_clip, paint_maps, tile, write_animation


def test_brighter_is_more():
    painted = paint_maps(np.linspace(0, 1, 64).reshape(8, 8), peak=1).astype(int)
    assert painted.shape == (8, 8, 3)
    brightness = painted.sum(axis=2).reshape(-1)
    assert brightness[0] < 20
    assert (np.diff(brightness) >= -3).all()  # the color map is even but for its rounding


def test_maps_given_together_share_the_scale():
    weak, strong = paint_maps(np.stack([np.full((8, 8), 1.0), np.full((8, 8), 4.0)]))
    assert strong.mean() > weak.mean() + 50


def test_tile_holds_every_picture():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    pictures = [np.full((10, 20, 3), color, np.uint8) for color in colors]
    grid = tile([pictures[:2], pictures[2:]], ['above', 'below'], ['one', 'two'], width=20)
    for color in colors:
        assert (grid == color).all(axis=2).sum() == 200
    assert (grid < 100).all(axis=2).any()  # the names


class TestInspection:
    @pytest.mark.parametrize('kind', ['rgb', 'pa', 'ensemble'])
    def test_maps_of_a_model(self, make_config, kind):
        torch.manual_seed(0)
        cfg = Config.fromfile(make_config(kind)).model
        if kind == 'ensemble':
            cfg.backbone.pop('stream')
            cfg.update(type='PANEnsemble', streams=dict(rgb=dict(), pa=dict()))
        model = MODELS.build(cfg)
        inputs = torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8)
        seen = inspect_clip(model, inputs)
        assert (seen.frames[1, 2] == inputs[6].permute(1, 2, 0).numpy()).all()
        if kind == 'rgb':
            assert seen.pa_maps is None
            return
        recognizer = model.streams['pa'] if kind == 'ensemble' else model
        x = model.data_preprocessor(dict(inputs=[inputs], data_samples=[]))['inputs']
        expected = recognizer.backbone.persistence(x[0][4:6].unsqueeze(0))[0, 0].detach()
        torch.testing.assert_close(torch.from_numpy(seen.pa_maps[1, 0]), expected)

    def test_pictures(self):
        """Of frames of one gray each, and maps that are bright in the last pair."""
        grays = 40 * np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1)
        frames = np.ascontiguousarray(np.broadcast_to(grays, (2, 3, 32, 32, 3)))
        maps = np.zeros((2, 2, 32, 32), np.float32)
        maps[:, -1] = 1
        seen = Inspection(frames, maps)
        grid = seen.grid(32)
        found = [(grid == 40 * value).all(2).sum() for value in range(1, 6)]
        assert found[2] >= 32**2 and max(found[3:]) < 32  # of segment 2 the first frame
        assert (grid == paint_maps(maps)[0, 1, 0, 0]).all(2).sum() == 2 * 32**2
        pictures = seen.animation(32)
        assert len(pictures) == 4
        for picture, value in zip(pictures, (0, 1, 3, 4)):
            assert (picture == 40 * value).all(2).sum() >= 32**2


def test_animation(tmp_path):
    path = tmp_path / 'a.gif'
    write_animation(path, [np.full((32, 48, 3), 60 * i, np.uint8) for i in range(4)], fps=5)
    image = Image.open(path)
    assert (image.n_frames, image.info['duration']) == (4, 200)
