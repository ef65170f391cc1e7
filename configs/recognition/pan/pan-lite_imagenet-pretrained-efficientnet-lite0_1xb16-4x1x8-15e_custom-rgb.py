# Train on your own videos: see docs/tutorials/1_own_videos.md.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(backbone=dict(stream='lite', inflation='keep-rgb'), cls_head=dict(num_classes=2))
