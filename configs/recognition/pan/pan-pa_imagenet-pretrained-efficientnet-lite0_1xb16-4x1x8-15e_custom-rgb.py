# Train on your own videos: see docs/tutorials/1_own_videos.md. The filters of PA start at the scale
# of the frames that the ImageNet weights are for.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime_own_videos.py',
]

model = dict(
    backbone=dict(stream='pa', motion_cue=dict(type='PersistenceOfAppearance', init_std=0.1)),
    cls_head=dict(num_classes=2),
)
