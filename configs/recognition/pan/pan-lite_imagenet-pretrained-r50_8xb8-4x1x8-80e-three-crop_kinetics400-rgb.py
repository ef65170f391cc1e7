# Tests two clips and three crops of each, fully convolutionally.
_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/kinetics400.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

_base_.accurate_pipeline[4] = dict(type='ThreeCrop', crop_size=256)

model = dict(
    backbone=dict(stream='lite'), cls_head=dict(num_classes=400), test_cfg=dict(fcn_test=True)
)
test_dataloader = dict(dataset=dict(pipeline=_base_.accurate_pipeline))
test_pipeline = _base_.accurate_pipeline
