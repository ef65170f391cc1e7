_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x8_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=27))
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline.insert(-2, dict(type='ClipRandAugment'))
train_dataloader = dict(dataset=dict(pipeline=pipeline))
