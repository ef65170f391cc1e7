# PAN on a ResNet-18 from scratch, for small data and small machines.
_base_ = './pan_r50.py'

model = dict(
    backbone=dict(
        backbone=dict(depth=18, pretrained=None),
        # The paper starts the filters at 0.001, so that the maps hardly disturb ImageNet weights.
        # From scratch they should start at the scale of the frames, and the classifier at 0.01,
        # or the first epochs go by before a gradient reaches the backbone.
        motion_cue=dict(type='PersistenceOfAppearance', init_std=0.1),
    ),
    cls_head=dict(in_channels=512, init_std=0.01),
)
