# The authors' optimizer: lr 0.01 for a batch of 64 videos, their multipliers of each parameter.
optim_wrapper = dict(
    constructor='PANOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=20, norm_type=2),
)

# 8 GPUs x 8 videos; `tools/train.py --auto-scale-lr` scales lr to another batch.
auto_scale_lr = dict(enable=False, base_batch_size=64)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_begin=1, val_interval=1)

param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=80, milestones=[30, 60], gamma=0.1)
]
