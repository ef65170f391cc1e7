# The RGB stream sees only one frame of each segment.
_base_ = './ucf101.py'

_base_.train_dataloader.dataset.pipeline[1].clip_len = 1
_base_.val_dataloader.dataset.pipeline[1].clip_len = 1
_base_.test_dataloader.dataset.pipeline[1].clip_len = 1
_base_.accurate_pipeline[1].clip_len = 1
_base_.test_pipeline[1].clip_len = 1
