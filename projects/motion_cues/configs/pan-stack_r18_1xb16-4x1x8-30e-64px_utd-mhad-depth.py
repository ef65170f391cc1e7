# A rival of PAN Lite: all frames of a segment, stacked as they are.
_base_ = [
    '../../../configs/_base_/models/pan_r18.py',
    '../../../configs/_base_/datasets/utd_mhad_64.py',
    '../../../configs/_base_/schedules/adamw_30e_bf16.py',
    '_base_/default_runtime_cpu.py',
]

model = dict(
    backbone=dict(motion_cue=dict(_delete_=True, type='FrameStack')),
    cls_head=dict(num_classes=27),
)
