# From scratch on a small dataset.
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

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.02),
    clip_grad=dict(max_norm=20, norm_type=2),
)

auto_scale_lr = dict(enable=False, base_batch_size=16)
