_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/egogest_1x1x8_64.py',
    '../../_base_/schedules/adamw_180e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(backbone=dict(stream='rgb', clip_len=1), cls_head=dict(num_classes=11))
