# The authors' processing of a video, in the parts of a pipeline: sample, decode, augment, pack.
# `val` is the efficient protocol (one clip, center crop), `accurate` the one of PAN_En (two
# clips at full resolution).
sample = dict(
    train=dict(type='PANSampleFrames', clip_len=4, num_clips=8),
    val=dict(type='PANSampleFrames', clip_len=4, num_clips=8, test_mode=True),
    accurate=dict(
        type='PANSampleFrames', clip_len=4, num_clips=8, test_mode=True, twice_sample=True
    ),
)
augment = dict(
    train=[
        dict(type='Resize', scale=(-1, 256)),
        dict(
            type='MultiScaleCrop',
            input_size=224,
            scales=(1, 0.875, 0.75, 0.66),
            random_crop=False,
            max_wh_scale_gap=1,
            num_fixed_crops=13,
        ),
        dict(type='Resize', scale=(224, 224), keep_ratio=False),
    ],
    val=[dict(type='Resize', scale=(-1, 256)), dict(type='CenterCrop', crop_size=224)],
    accurate=[dict(type='Resize', scale=(-1, 256)), dict(type='CenterCrop', crop_size=256)],
)
pack = [
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
