# Something-Something V1: JPEG frames as published; left and right matter, so no flip.
_base_ = './pan_rawframes.py'

data_root = 'data/sthv1'
label_map = '{{ fileDirname }}/../../../tools/data/sthv1/label_map.txt'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv1_train_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        filename_tmpl='{:05}.jpg',
        metainfo=dict(classes=label_map),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='sthv1_val_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        filename_tmpl='{:05}.jpg',
        metainfo=dict(classes=label_map),
    )
)
test_dataloader = val_dataloader
