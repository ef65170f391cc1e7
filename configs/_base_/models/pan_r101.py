# PAN on a ResNet-101 with temporal shift.
_base_ = './pan_r50.py'

model = dict(
    backbone=dict(
        backbone=dict(
            depth=101, pretrained='https://download.pytorch.org/models/resnet101-63fe2227.pth'
        )
    )
)
