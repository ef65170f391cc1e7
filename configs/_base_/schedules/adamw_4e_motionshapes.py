# A short training from scratch, for minutes on two CPU cores.
_base_ = './adamw_30e.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_begin=4)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=20),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        end=4,
        T_max=4,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]

optim_wrapper = dict(optimizer=dict(lr=0.002))
