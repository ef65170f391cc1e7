# UTD-MHAD at 64 × 64 pixels, for models that see as many frames as PAN, one of each segment.
_base_ = './utd_mhad_1x1x8_64.py'

_base_.train_dataloader.dataset.pipeline[1].num_clips = 32
_base_.test_dataloader.dataset.pipeline[1].num_clips = 32
test_pipeline = _base_.test_dataloader.dataset.pipeline
