# MMAction2's TANet on Something-Something V1, which sees PA maps instead of frames. Its head stays.
_base_ = ['mmaction::recognition/tanet/tanet_imagenet-pretrained-r50_8xb8-1x1x8-50e_sthv1-rgb.py']
custom_imports = dict(imports=['pan_mm'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='PANBackbone', stream='pa', backbone=_base_.model.backbone)
)

train_dataloader = _base_.train_dataloader
val_dataloader = _base_.val_dataloader
test_dataloader = _base_.test_dataloader
train_dataloader.dataset.pipeline[0] = dict(type='PANSampleFrames', clip_len=4)
val_dataloader.dataset.pipeline[0] = dict(type='PANSampleFrames', clip_len=4, test_mode=True)
test_dataloader.dataset.pipeline[0] = dict(
    type='PANSampleFrames', clip_len=4, test_mode=True, twice_sample=True
)
test_pipeline = test_dataloader.dataset.pipeline
