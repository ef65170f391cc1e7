# From ImageNet weights on a small dataset.
_base_ = './adamw_30e.py'

optim_wrapper = dict(optimizer=dict(lr=0.0005, weight_decay=0.05))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=15)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        end=15,
        T_max=15,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]
