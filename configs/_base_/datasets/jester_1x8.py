# The RGB stream sees only one frame of each segment.
_base_ = './jester.py'

_base_.train_dataloader.dataset.pipeline[0].clip_len = 1
_base_.val_dataloader.dataset.pipeline[0].clip_len = 1
_base_.test_dataloader.dataset.pipeline[0].clip_len = 1
_base_.accurate_pipeline[0].clip_len = 1
_base_.test_pipeline[1].clip_len = 1
