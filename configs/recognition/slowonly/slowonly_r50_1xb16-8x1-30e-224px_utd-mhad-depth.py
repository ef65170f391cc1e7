_base_ = [
    'mmaction::_base_/models/slowonly_r50.py',
    '../../_base_/datasets/utd_mhad_8x1_224.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_no_val.py',
]

model = dict(
    backbone=dict(pretrained=None, zero_init_residual=False),  # as the ResNet-18 beside it
    cls_head=dict(num_classes=27, average_clips='score'),
)
