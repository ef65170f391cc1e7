_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/motionshapes.py',
    '../../_base_/schedules/adamw_4e_motionshapes.py',
    '../../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=12))
