# Ten gestures and other hand movements in color videos (EgoGestAR), at 64 × 64 pixels. Gestures
# differ by side and time order, so no flip. The folds part the clips by scene: train on
# `fold0_train.txt`, test on `fold0_test.txt`, and so on; there is no validation split.
_base_ = './utd_mhad_64.py'

train_dataloader = dict(
    dataset=dict(
        data_root='data/egogest11',
        data_prefix=dict(video='videos'),
        ann_file='fold0_train.txt',
    )
)
test_dataloader = dict(
    dataset=dict(
        data_root='data/egogest11',
        data_prefix=dict(video='videos'),
        ann_file='fold0_test.txt',
    )
)
