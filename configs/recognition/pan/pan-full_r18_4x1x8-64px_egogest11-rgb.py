_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/egogest_64.py',
    '../../_base_/default_runtime_no_val.py',
]

model = dict(type='PANEnsemble', streams=dict(rgb=dict(), pa=dict()), cls_head=dict(num_classes=11))
train_dataloader = None  # each stream is trained with its own config
