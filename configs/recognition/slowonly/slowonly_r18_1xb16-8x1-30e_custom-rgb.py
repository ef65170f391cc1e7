# SlowOnly, a 3D network from scratch, on your own videos.
_base_ = [
    'mmaction::_base_/models/slowonly_r50.py',
    '../../_base_/datasets/custom_8x1.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(
    backbone=dict(depth=18, pretrained=None, zero_init_residual=False),
    cls_head=dict(num_classes=2, in_channels=512, average_clips='score'),
)
