# UTD-MHAD at 64 × 64 pixels, for a matrix of many runs.
_base_ = './utd_mhad.py'

resize, crop, square = _base_.train_dataloader.dataset.pipeline[3:6]
resize.scale, crop.input_size, square.scale = (-1, 72), 64, (64, 64)
resize, crop = _base_.test_dataloader.dataset.pipeline[3:5]
resize.scale, crop.crop_size = (-1, 72), 64
test_pipeline = _base_.test_dataloader.dataset.pipeline
