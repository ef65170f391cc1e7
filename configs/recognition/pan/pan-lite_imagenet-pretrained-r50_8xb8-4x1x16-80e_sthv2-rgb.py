_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/sthv2.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

_base_.train_dataloader.dataset.pipeline[1].num_clips = 16
_base_.val_dataloader.dataset.pipeline[1].num_clips = 16
_base_.test_dataloader.dataset.pipeline[1].num_clips = 16
_base_.accurate_pipeline[1].num_clips = 16
_base_.test_pipeline[1].num_clips = 16

model = dict(
    backbone=dict(stream='lite', num_segments=16), cls_head=dict(num_classes=174, num_segments=16)
)
