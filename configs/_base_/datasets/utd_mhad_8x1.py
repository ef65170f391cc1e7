# UTD-MHAD for 3D models: the frames of the eight segments are one clip.
_base_ = './utd_mhad.py'

train, test = _base_.train_dataloader.dataset.pipeline, _base_.test_dataloader.dataset.pipeline
train[1] = dict(type='UniformSample', clip_len=8)
test[1] = dict(type='UniformSample', clip_len=8, test_mode=True)
train[-2].input_format = test[-2].input_format = 'NCTHW'
test_pipeline = test
