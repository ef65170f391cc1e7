# Videos as folders of JPEG frames; a dataset adds their folder and the names of the files.
# The `test_pipeline` for single videos remains the one that opens a file.
_base_ = './pan_videos.py'

train_pipeline = [
    _base_.sample.train,
    dict(type='RawFrameDecode'),
    *_base_.augment.train,
    *_base_.pack,
]
val_pipeline = [
    _base_.sample.val,
    dict(type='RawFrameDecode'),
    *_base_.augment.val,
    *_base_.pack,
]
accurate_pipeline = [
    _base_.sample.accurate,
    dict(type='RawFrameDecode'),
    *_base_.augment.accurate,
    *_base_.pack,
]

train_dataloader = dict(dataset=dict(type='RawframeDataset', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='RawframeDataset', pipeline=val_pipeline, test_mode=True))
test_dataloader = val_dataloader
