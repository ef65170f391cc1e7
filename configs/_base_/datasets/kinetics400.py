# Kinetics-400.
_base_ = './pan_videos.py'

_base_.train_pipeline.insert(-2, dict(type='Flip', flip_ratio=0.5))
data_root = 'data/kinetics400'
label_map = '{{ fileDirname }}/../../../tools/data/kinetics400/label_map.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='kinetics400_train_list_videos.txt',
        data_prefix=dict(video='videos_train'),
        metainfo=dict(classes=label_map),
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='kinetics400_val_list_videos.txt',
        data_prefix=dict(video='videos_val'),
        metainfo=dict(classes=label_map),
    )
)
test_dataloader = val_dataloader
