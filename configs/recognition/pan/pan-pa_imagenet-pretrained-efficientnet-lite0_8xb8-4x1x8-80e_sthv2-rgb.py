_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/sthv2.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='pa'), cls_head=dict(num_classes=174))
