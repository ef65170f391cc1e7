# Videos as files; a dataset adds where they are. `test_pipeline` is what tools for single videos
# use: it prepares a video as the test does.
_base_ = './pan.py'

train_pipeline = [
    dict(type='VideoInit'),
    _base_.sample.train,
    dict(type='VideoDecode'),
    *_base_.augment.train,
    *_base_.pack,
]
val_pipeline = [
    dict(type='VideoInit'),
    _base_.sample.val,
    dict(type='VideoDecode'),
    *_base_.augment.val,
    *_base_.pack,
]
test_pipeline = val_pipeline
accurate_pipeline = [
    dict(type='VideoInit'),
    _base_.sample.accurate,
    dict(type='VideoDecode'),
    *_base_.augment.accurate,
    *_base_.pack,
]

train_dataloader = dict(dataset=dict(type='VideoDataset', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='VideoDataset', pipeline=val_pipeline, test_mode=True))
test_dataloader = val_dataloader
