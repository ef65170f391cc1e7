# PAN Lite with absolute differences instead of PA.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/utd_mhad.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(
    backbone=dict(motion_cue=dict(_delete_=True, type='FrameDifference')),
    cls_head=dict(num_classes=27),
)
