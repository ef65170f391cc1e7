_base_ = './sgd_pan_80e.py'

train_cfg = dict(max_epochs=50)

param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=50, milestones=[20, 40], gamma=0.1)
]
