# PAN on a ResNet-18 from scratch, for small data and small machines.
_base_ = './pan_r50.py'

model = dict(
    backbone=dict(backbone=dict(depth=18, pretrained=None)),
    cls_head=dict(in_channels=512),
)
