_base_ = [
    '../../_base_/models/pan_r101.py',
    '../../_base_/datasets/sthv1.py',
    '../../_base_/default_runtime.py',
]

model = dict(
    type='PANEnsemble',
    streams=dict(rgb=dict(), pa=dict(), lite=dict()),
    cls_head=dict(num_classes=174),
)
train_dataloader = None  # each stream is trained with its own config
test_dataloader = dict(dataset=dict(pipeline=_base_.accurate_pipeline))
test_pipeline = [
    _base_.test_pipeline[0],
    _base_.accurate_pipeline[0],
    _base_.test_pipeline[2],
    *_base_.accurate_pipeline[2:],
]
