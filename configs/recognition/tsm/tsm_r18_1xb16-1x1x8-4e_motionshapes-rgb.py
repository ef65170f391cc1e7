_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/motionshapes_1x1x8.py',
    '../../_base_/schedules/adamw_4e_motionshapes.py',
    '../../_base_/default_runtime.py',
]
