# Signed gray differences of adjacent frames on your own videos: see docs/tutorials/1_own_videos.md.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_own_videos.py',
]

difference = dict(_delete_=True, type='FrameDifference', absolute=False)
model = dict(backbone=dict(stream='pa', motion_cue=difference), cls_head=dict(num_classes=2))
