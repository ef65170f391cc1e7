"""A training on videos of one's own, from the configs and options that README.md names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_{}-rgb.py'


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ('kind', 'num_classes', 'ann_file', 'own'),
    [
        ('custom', 3, 'tennis3.txt', {}),
        (
            'custom-rawframes',
            2,
            'rawframes_jester2.txt',
            {'filename_tmpl': '{:05}.jpg'},
        ),
    ],
)
def test_trains(kind, num_classes, ann_file, own, clips_dir, tmp_path, run_tool):
    own = dict(own, data_root=clips_dir, ann_file=f'annotations/{ann_file}')
    options = [
        f'model.cls_head.num_classes={num_classes}',
        'model.backbone.backbone.depth=18',  # small, and without a download
        'model.backbone.backbone.pretrained=None',
        'model.cls_head.in_channels=512',
        'train_cfg.max_epochs=1',
    ]
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.dataset.{key}={value}' for key, value in own.items()]
        options += [f'{split}_dataloader.dataset.indices=2']  # two clips do
        options += [f'{split}_dataloader.num_workers=0', f'{split}_dataloader.batch_size=2']
        options += [f'{split}_dataloader.persistent_workers=False']
    config = ROOT / 'configs' / 'recognition' / 'pan' / CONFIG.format(kind)
    args = [config, '--work-dir', tmp_path, '--cfg-options', *options]
    result = run_tool('tools/train.py', *args, cwd=tmp_path, check=True)
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert 'acc/top1' in result.stderr + result.stdout
