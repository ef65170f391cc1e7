# UTD-MHAD, depth videos: 27 actions, subjects 1, 3, 5, 7 for training and 2, 4, 6, 8 for the test.
# Pairs of actions differ by left and right or by time order, so no flip. There is no validation
# split; choose settings on `dev_train.txt` and `dev_val.txt`, which part the training subjects.
_base_ = './pan.py'

augment = dict(
    train=[
        dict(type='Resize', scale=(-1, 128)),
        dict(
            type='MultiScaleCrop',
            input_size=112,
            scales=(1, 0.875, 0.75),
            max_wh_scale_gap=1,
            num_fixed_crops=13,
        ),
        dict(type='Resize', scale=(112, 112), keep_ratio=False),
    ],
    val=[dict(type='Resize', scale=(-1, 128)), dict(type='CenterCrop', crop_size=112)],
)
train_pipeline = [
    dict(type='VideoInit'),
    _base_.sample.train,
    dict(type='VideoDecode'),
    *augment['train'],
    *_base_.pack,
]
test_pipeline = [
    dict(type='VideoInit'),
    _base_.sample.val,
    dict(type='VideoDecode'),
    *augment['val'],
    *_base_.pack,
]

dataset = dict(
    type='VideoDataset',
    data_root='data/utd_mhad_depth27',
    data_prefix=dict(video=''),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(ann_file='annotations/train.txt', pipeline=train_pipeline, **dataset),
)
val_dataloader = None
test_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        ann_file='annotations/test.txt', pipeline=test_pipeline, test_mode=True, **dataset
    ),
)
