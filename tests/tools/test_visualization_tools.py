"""The drawing tools, run as a user runs them, on a real clip."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLIP = 'labelled/utd_mhad_a1_s3_t3_color.avi'
CONFIG = f"""
_base_ = ['{ROOT.as_posix()}/configs/_base_/models/pan_r18.py']
model = dict(
    backbone=dict(num_segments=4, backbone=dict(type='ResNetTSM')),
    cls_head=dict(num_classes=5, num_segments=4),
)
test_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 64)),
    dict(type='CenterCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
"""

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture
def run(run_tool, tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    return lambda tool, *args: run_tool(f'tools/{tool}', *args, cwd=tmp_path)


def test_vis_pa(run, clips_dir, tmp_path):
    for name in ('grid.png', 'a.gif'):
        options = ('--config', 'config.py', '--out', name, '--width', 64)
        result = run('visualization/vis_pa.py', clips_dir / CLIP, *options)
        assert result.returncode == 0, result.stderr
    grid = np.array(Image.open(tmp_path / 'grid.png'))
    assert grid.shape[0] >= 4 * 64 and grid.shape[1] >= 4 * 64  # a frame and 3 PA maps
    assert Image.open(tmp_path / 'a.gif').n_frames == 12


def test_vis_pa_of_no_video(run, clips_dir, tmp_path):
    video = clips_dir / 'negative' / 'empty.mp4'
    result = run('visualization/vis_pa.py', video, '--config', 'config.py', '--out', 'grid.png')
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f'error: {video}')
    assert not (tmp_path / 'grid.png').exists()
