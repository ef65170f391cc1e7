# Continues from pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb; the classifier is new.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/utd_mhad.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=27))
load_from = 'work_dirs/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb/epoch_4.pth'
