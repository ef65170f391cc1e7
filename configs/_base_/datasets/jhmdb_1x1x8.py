# JHMDB for models that see one frame of each segment.
_base_ = './jhmdb.py'

_base_.train_dataloader.dataset.pipeline[1].clip_len = 1
_base_.test_dataloader.dataset.pipeline[1].clip_len = 1
test_pipeline = _base_.test_dataloader.dataset.pipeline
_base_.accurate_pipeline[1].clip_len = 1
