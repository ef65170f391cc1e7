# Your own videos: a list of `video label` lines for training and one for validation, beside the
# videos in data_root. `python tools/data/build_list.py FOLDER` writes both, and a config.
_base_ = './pan_videos.py'

_base_.train_pipeline.insert(-2, dict(type='Flip', flip_ratio=0.5))
data_root = 'data/custom'

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(data_root=data_root, ann_file='train.txt', pipeline=_base_.train_pipeline),
)
val_dataloader = dict(
    batch_size=16, num_workers=2, dataset=dict(data_root=data_root, ann_file='val.txt')
)
test_dataloader = val_dataloader
