# PAN on a MobileNetV2 with temporal shift, for small devices.
_base_ = './pan_r50.py'

model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='MobileNetV2TSM',
            shift_div=8,
            pretrained='mmcls://mobilenet_v2',
        ),
    ),
    cls_head=dict(in_channels=1280),
)
