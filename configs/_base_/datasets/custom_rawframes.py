# Your own videos as folders of JPEG frames: a list of `folder num_frames label` lines for
# training and one for validation, beside the folders in data_root.
# `python tools/data/build_list.py FOLDER` writes both.
_base_ = './pan_rawframes.py'

_base_.train_pipeline.insert(-2, dict(type='Flip', flip_ratio=0.5))
data_root = 'data/custom'

train_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file='train.txt', pipeline=_base_.train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, ann_file='val.txt'))
test_dataloader = val_dataloader
