# SlowOnly, a 3D network from scratch, on your own videos.
_base_ = [
    '../../_base_/models/slowonly_r18.py',
    '../../_base_/datasets/custom_8x1.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(cls_head=dict(num_classes=2))
