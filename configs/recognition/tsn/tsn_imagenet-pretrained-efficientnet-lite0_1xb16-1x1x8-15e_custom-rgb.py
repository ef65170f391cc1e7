# TSN on your own videos: as TSM, without temporal shift.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/custom_1x8.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(
    backbone=dict(stream='rgb', clip_len=1, backbone=dict(is_shift=False)),
    cls_head=dict(type='TSMHead', is_shift=False, num_classes=2),
)
