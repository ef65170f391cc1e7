_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/jhmdb.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(
    backbone=dict(stream='lite', inflation='keep-rgb', motion_cue=dict(type='FrameDifference')),
    cls_head=dict(num_classes=21),
)
