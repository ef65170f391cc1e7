"""Pictures reach the visualizer of a real training."""

from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from pan_mm.engine import PANVisualizationHook

ROOT = Path(__file__).resolve().parents[3]


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        inputs = torch.randint(0, 255, (16, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return dict(inputs=inputs, data_samples=ActionDataSample().set_gt_label(index % 2))


def train(tmp_path, stream, interval):
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/pan_r18.py')
    cfg.model.backbone.update(stream=stream, num_segments=4)
    cfg.model.cls_head.update(num_classes=2, num_segments=4)
    runner = Runner(
        cfg.model,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=Clips(),
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=pseudo_collate,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[dict(type='PANVisualizationHook', interval=interval)],
        default_hooks=dict(checkpoint=None),
        visualizer=dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_scope='mmaction',
        experiment_name=f'{stream}',
    )
    runner.train()
    return sorted(path.name for path in tmp_path.rglob('*.png'))


@pytest.mark.parametrize(
    'stream, expected',
    [
        ('lite', ['pa_maps_1.png', 'pa_maps_2.png', 'vap_weights_1.png', 'vap_weights_2.png']),
        ('rgb', ['vap_weights_1.png', 'vap_weights_2.png']),
    ],
)
def test_local_files(tmp_path, stream, expected):
    assert train(tmp_path, stream, interval=1) == expected


def test_interval(tmp_path):
    assert train(tmp_path, 'pa', interval=2) == ['pa_maps_2.png', 'vap_weights_2.png']


def test_senseless_interval():
    with pytest.raises(ValueError, match='at least 1'):
        PANVisualizationHook(interval=0)
