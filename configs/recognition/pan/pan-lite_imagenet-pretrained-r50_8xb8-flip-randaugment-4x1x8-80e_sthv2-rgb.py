# In addition to the paper's recipe: flips that exchange left and right classes, and RandAugment.
_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/sthv2_flip_randaugment.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='lite'), cls_head=dict(num_classes=174))
