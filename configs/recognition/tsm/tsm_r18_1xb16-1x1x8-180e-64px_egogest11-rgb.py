_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/egogest_1x1x8_64.py',
    '../../_base_/schedules/adamw_180e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=11))
