# MMAction2's TANet has no ResNet-18.
_base_ = [
    'mmaction::_base_/models/tanet_r50.py',
    '../../_base_/datasets/utd_mhad_1x1x8.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(
    backbone=dict(pretrained=None),
    cls_head=dict(num_classes=27, init_std=0.01, average_clips='score'),
)
