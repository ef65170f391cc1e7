# Your own videos where some classes have many more than others: each class is seen equally often.
# For any config: `--cfg-options train_dataloader.sampler.type=ClassBalancedSampler`.
_base_ = ['../pan/pan-lite_imagenet-pretrained-efficientnet-lite0_1xb16-4x1x8-15e_custom-rgb.py']

train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
