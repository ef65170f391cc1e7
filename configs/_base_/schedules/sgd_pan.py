# The authors' optimizer: lr 0.01 for a batch of 64 videos, their multipliers of each parameter.
optim_wrapper = dict(
    constructor='PANOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=20, norm_type=2),
)

# 8 GPUs x 8 videos; `tools/train.py --auto-scale-lr` scales lr to another batch.
auto_scale_lr = dict(enable=False, base_batch_size=64)
