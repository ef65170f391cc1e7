# Minutes on two CPU cores, from scratch.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_begin=4, val_interval=4)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=1,
        end=12,
        T_max=11,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]

optim_wrapper = dict(
    constructor='PANOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=20, norm_type=2),
)

auto_scale_lr = dict(enable=False, base_batch_size=16)
