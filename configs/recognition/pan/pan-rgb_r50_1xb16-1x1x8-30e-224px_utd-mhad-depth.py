_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/utd_mhad_1x1x8_224.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_no_val.py',
]

model = dict(
    backbone=dict(stream='rgb', clip_len=1, backbone=dict(pretrained=None)),
    cls_head=dict(num_classes=27, init_std=0.01),
)
