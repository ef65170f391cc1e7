# Train on your own videos, on a processor or a small GPU: see 'Your own videos' in README.md.
_base_ = [
    '../../_base_/models/pan_efficientnet_lite0.py',
    '../../_base_/datasets/custom.py',
    '../../_base_/schedules/adamw_15e_finetune.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(stream='lite', inflation='keep-rgb'), cls_head=dict(num_classes=2))
train_dataloader = dict(batch_size=16, num_workers=2)
val_dataloader = dict(batch_size=16, num_workers=2)
test_dataloader = val_dataloader
custom_hooks = [dict(type='ChannelsLastHook')]
