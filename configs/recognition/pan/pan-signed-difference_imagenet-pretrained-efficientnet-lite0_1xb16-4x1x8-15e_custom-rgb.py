# A rival of PA on your own videos: the difference of adjacent frames, gray and signed.
_base_ = './pan-pa_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e_custom-rgb.py'

difference = dict(_delete_=True, type='FrameDifference', absolute=False)
model = dict(backbone=dict(motion_cue=difference))
