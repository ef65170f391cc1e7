# Shift only from the past, for streams: `python -m pan_mm stream` then computes each segment once.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/motionshapes.py',
    '../../_base_/schedules/adamw_4e_motionshapes.py',
    '../../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(backbone=dict(type='ResNetCausalTSM')),
    cls_head=dict(num_classes=12),
)
