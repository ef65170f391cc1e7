# HMDB51, first split.
_base_ = './pan_videos.py'

_base_.train_pipeline.insert(-2, dict(type='Flip', flip_ratio=0.5))
data_root = 'data/hmdb51'
label_map = '{{ fileDirname }}/../../../tools/data/hmdb51/label_map.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='hmdb51_train_split_1_videos.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=label_map),
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='hmdb51_val_split_1_videos.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=label_map),
    )
)
test_dataloader = val_dataloader
