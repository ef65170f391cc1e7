# Something-Something V2: left and right matter, so no flip.
_base_ = './pan_videos.py'

data_root = 'data/sthv2'
label_map = '{{ fileDirname }}/../../../tools/data/sthv2/label_map.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv2_train_list_videos.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=label_map),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv2_val_list_videos.txt',
        data_prefix=dict(video='videos'),
        metainfo=dict(classes=label_map),
    )
)
test_dataloader = val_dataloader
