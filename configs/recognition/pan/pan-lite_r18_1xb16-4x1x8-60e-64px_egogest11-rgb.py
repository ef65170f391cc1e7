_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/egogest_64.py',
    '../../_base_/schedules/adamw_60e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=11))
