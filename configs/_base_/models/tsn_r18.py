# MMAction2's TSN and TSM from scratch, what PAN is compared with on small data.
model = dict(
    type='Recognizer2D',
    backbone=dict(type='ResNet', depth=18, pretrained=None),
    cls_head=dict(
        type='TSNHead',
        num_classes=12,
        in_channels=512,
        dropout_ratio=0.5,
        init_std=0.01,
        average_clips='score',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
)
