# JHMDB, 21 everyday actions of HMDB51 in short RGB videos, at 112 × 112 pixels. The lists part the
# clips by the film that they were cut from. There is no validation split; choose settings on
# `dev_train.txt` and `dev_val.txt`, which part `train1.txt`.
_base_ = './pan_videos.py'

from pan_mm.config.pipelines import set_arguments, set_sizes

set_sizes(_base_, {256: 128, 224: 112})
set_arguments(_base_, 'MultiScaleCrop', scales=(1, 0.875, 0.75))
_base_.train_pipeline.insert(-2, dict(type='Flip', flip_ratio=0.5))
test_pipeline = _base_.val_pipeline
label_map = '{{ fileDirname }}/../../../tools/data/jhmdb/label_map.txt'

dataset = dict(data_root='data/jhmdb21', data_prefix=dict(video='videos'))
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(ann_file='annotations/train1.txt', pipeline=_base_.train_pipeline, **dataset),
)
val_dataloader = None
test_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(ann_file='annotations/test1.txt', pipeline=_base_.val_pipeline, **dataset),
)
