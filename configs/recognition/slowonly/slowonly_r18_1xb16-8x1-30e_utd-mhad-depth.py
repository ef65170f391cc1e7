_base_ = [
    '../../_base_/models/slowonly_r18.py',
    '../../_base_/datasets/utd_mhad_8x1.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=27))
