# The PA stream on your own videos, instead of signed differences.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(backbone=dict(stream='pa'), cls_head=dict(num_classes=2))
