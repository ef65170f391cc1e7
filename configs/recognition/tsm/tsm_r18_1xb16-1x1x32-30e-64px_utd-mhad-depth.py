# TSM on as many frames as PAN sees.
_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x32_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(backbone=dict(num_segments=32), cls_head=dict(num_segments=32, num_classes=27))
