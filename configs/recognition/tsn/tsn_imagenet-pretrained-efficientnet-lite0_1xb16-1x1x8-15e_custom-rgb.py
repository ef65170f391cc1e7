# TSN on your own videos: as TSM, without temporal shift.
_base_ = '../tsm/tsm_imagenet-pretrained-efficientnet-lite0_1xb16-1x1x8-15e_custom-rgb.py'

model = dict(backbone=dict(backbone=dict(is_shift=False)), cls_head=dict(is_shift=False))
