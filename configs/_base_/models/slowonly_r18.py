# SlowOnly, a 3D network, from scratch on small data.
_base_ = 'mmaction::_base_/models/slowonly_r50.py'

model = dict(
    # Residual branches that start from zero hardly move within a short schedule; 2D ResNets have
    # none.
    backbone=dict(depth=18, pretrained=None, zero_init_residual=False),
    cls_head=dict(in_channels=512, average_clips='score'),
)
