# PAN on a ResNet-50 with temporal shift; a leaf config sets the stream and num_classes.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='PANBackbone',
        stream='lite',
        num_segments=8,
        clip_len=4,
        backbone=dict(
            type='ResNetTSM',
            depth=50,
            shift_div=8,
            pretrained='https://download.pytorch.org/models/resnet50-0676ba61.pth',
        ),
    ),
    cls_head=dict(
        type='VAPHead',
        num_classes=174,
        in_channels=2048,
        num_segments=8,
        dropout_ratio=0.5,
        average_clips='score',
    ),
    data_preprocessor=dict(
        type='PANDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
)
