# In addition to the paper's recipe: flips that exchange left and right classes; a mirrored `pulling
# from left to right` is `from right to left`.
_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/sthv2.py',
    '../../_base_/schedules/sgd_pan_80e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='lite'), cls_head=dict(num_classes=174))
mirrored = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
flip = dict(type='Flip', flip_ratio=0.5, flip_label_map=mirrored)
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline.insert(-2, flip)
train_dataloader = dict(dataset=dict(pipeline=pipeline))
