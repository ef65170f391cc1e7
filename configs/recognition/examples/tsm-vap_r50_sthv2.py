# MMAction2's TSM on Something-Something V2, with VAP in place of its average over the segments.
_base_ = ['mmaction::recognition/tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb.py']
custom_imports = dict(imports=['pan_mm'], allow_failed_imports=False)

model = dict(
    cls_head=dict(
        _delete_=True, type='VAPHead', num_classes=174, in_channels=2048, average_clips='score'
    )
)
