# PA and, with half its weight, TSN on the first frame of each segment: motion and appearance.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/jhmdb.py',
    '../../_base_/default_runtime_no_val.py',
]

tsn = dict(
    weight=0.5,
    backbone=dict(stream='rgb', backbone=dict(is_shift=False)),
    cls_head=dict(type='TSMHead', is_shift=False),
)
model = dict(type='PANEnsemble', streams=dict(pa=dict(), tsn=tsn), cls_head=dict(num_classes=21))
train_dataloader = None  # each stream is trained with its own config
