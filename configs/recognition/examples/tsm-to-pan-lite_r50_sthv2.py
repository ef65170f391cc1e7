# MMAction2's TSM on Something-Something V2, turned into PAN_Lite: its backbone goes behind PA as it
# is, its head makes way for VAP, and 4 adjacent frames are read where it reads one. Data, schedule
# and everything else stay as in the stock config.
_base_ = ['mmaction::recognition/tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb.py']
custom_imports = dict(imports=['pan_mm'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='PANBackbone', stream='lite', backbone=_base_.model.backbone),
    cls_head=dict(
        _delete_=True, type='VAPHead', num_classes=174, in_channels=2048, average_clips='score'
    ),
)
optim_wrapper = dict(constructor='PANOptimWrapperConstructor', paramwise_cfg=dict(_delete_=True))

train_dataloader = _base_.train_dataloader
val_dataloader = _base_.val_dataloader
test_dataloader = _base_.test_dataloader
train_dataloader.dataset.pipeline[1] = dict(type='PANSampleFrames', clip_len=4)
val_dataloader.dataset.pipeline[1] = dict(type='PANSampleFrames', clip_len=4, test_mode=True)
test_dataloader.dataset.pipeline[1] = dict(
    type='PANSampleFrames', clip_len=4, test_mode=True, twice_sample=True
)
test_pipeline = test_dataloader.dataset.pipeline
