_base_ = './tsn_r18.py'

model = dict(
    backbone=dict(type='ResNetTSM', num_segments=8, shift_div=8, pretrained2d=False),
    cls_head=dict(type='TSMHead', num_segments=8),
)
