_base_ = [
    'mmaction::_base_/models/slowonly_r50.py',
    '../../_base_/datasets/utd_mhad_8x1.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(
    # Residual branches that start from zero hardly move within this schedule; 2D ResNets have none.
    backbone=dict(depth=18, pretrained=None, zero_init_residual=False),
    cls_head=dict(num_classes=27, in_channels=512, average_clips='score'),
)
