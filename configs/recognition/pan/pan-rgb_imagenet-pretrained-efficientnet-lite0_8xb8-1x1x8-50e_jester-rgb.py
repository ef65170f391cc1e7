_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/jester_1x8.py',
    '../../_base_/schedules/sgd_pan_50e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='rgb', clip_len=1), cls_head=dict(num_classes=27))
