# TSM on your own videos: PAN's RGB stream with the average over segments in place of VAP.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/custom_1x8.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(backbone=dict(stream='rgb', clip_len=1), cls_head=dict(type='TSMHead', num_classes=2))
