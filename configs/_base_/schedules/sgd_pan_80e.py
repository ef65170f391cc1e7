_base_ = './sgd_pan.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_begin=1, val_interval=1)

param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=80, milestones=[30, 60], gamma=0.1)
]
