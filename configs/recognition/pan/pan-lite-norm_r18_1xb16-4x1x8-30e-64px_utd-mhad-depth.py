# PAN Lite with a batch norm of the PA maps.
_base_ = [
    '../../_base_/models/pan_r18_norm.py',
    '../../_base_/datasets/utd_mhad_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=27))
