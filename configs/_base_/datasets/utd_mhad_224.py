# UTD-MHAD at 224 × 224 pixels, for an accelerator.
_base_ = './utd_mhad.py'

resize, crop, square = _base_.train_dataloader.dataset.pipeline[3:6]
resize.scale, crop.input_size, square.scale = (-1, 256), 224, (224, 224)
resize, crop = _base_.test_dataloader.dataset.pipeline[3:5]
resize.scale, crop.crop_size = (-1, 256), 224
test_pipeline = _base_.test_dataloader.dataset.pipeline
