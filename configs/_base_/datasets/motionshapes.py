# The embedded dataset, rendered on first use: 12 classes that differ only by motion.
# No flip: it would turn a class into its counterpart.
train_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=8),
    dict(type='VideoDecode'),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
test_pipeline = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=8, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = test_pipeline

data_root = 'data/motionshapes'
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='MotionShapesDataset', split='train', data_root=data_root, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MotionShapesDataset',
        split='val',
        data_root=data_root,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MotionShapesDataset',
        split='test',
        data_root=data_root,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
