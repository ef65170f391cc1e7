# UTD-MHAD at 64 × 64 pixels, for models that see one frame of each segment.
_base_ = './utd_mhad_64.py'

_base_.train_dataloader.dataset.pipeline[1].clip_len = 1
_base_.test_dataloader.dataset.pipeline[1].clip_len = 1
test_pipeline = _base_.test_dataloader.dataset.pipeline
