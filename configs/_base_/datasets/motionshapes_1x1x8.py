# MotionShapes for models that see one frame of each segment.
_base_ = './motionshapes.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1].clip_len = 1
test_pipeline = _base_.test_pipeline
test_pipeline[1].clip_len = 1
val_pipeline = test_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
