# Train on your own videos: see 'Your own videos' in README.md.
_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='lite'), cls_head=dict(num_classes=2))
train_dataloader = dict(batch_size=8, num_workers=8)
val_dataloader = dict(batch_size=8, num_workers=8)
test_dataloader = val_dataloader
