# PAN Lite with signed differences instead of PA.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/egogest_64.py',
    '../../_base_/schedules/adamw_180e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

difference = dict(_delete_=True, type='FrameDifference', absolute=False)
model = dict(backbone=dict(motion_cue=difference), cls_head=dict(num_classes=11))
