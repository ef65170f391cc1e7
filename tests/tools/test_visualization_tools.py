"""The drawing tools, run as a user runs them, on a real clip."""

import numpy as np
import pytest
from PIL import Image

from builders import CLIP

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture
def vis_pa(run_tool, config, tmp_path):
    return lambda *args: run_tool(
        'tools/visualization/vis_pa.py', *args, '--config', config, cwd=tmp_path
    )


def test_vis_pa(vis_pa, clips_dir, tmp_path):
    for name in ('grid.png', 'a.gif'):
        result = vis_pa(clips_dir / CLIP, '--out', name, '--width', 64)
        assert result.returncode == 0, result.stderr
    grid = np.array(Image.open(tmp_path / 'grid.png'))
    assert grid.shape[0] >= 4 * 64 and grid.shape[1] >= 4 * 64  # a frame and 3 PA maps
    assert Image.open(tmp_path / 'a.gif').n_frames == 12


def test_vis_pa_of_no_video(vis_pa, clips_dir, tmp_path):
    video = clips_dir / 'negative' / 'empty.mp4'
    result = vis_pa(video, '--out', 'grid.png')
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f'error: {video}')
    assert not (tmp_path / 'grid.png').exists()
