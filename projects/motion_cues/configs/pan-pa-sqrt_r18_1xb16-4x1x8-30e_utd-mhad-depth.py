# Square roots of PA's maps, then a batch norm: what a search on the dev split chose.
_base_ = [
    '_base_/pan_r18_norm.py',
    '../../../configs/_base_/datasets/utd_mhad.py',
    '../../../configs/_base_/schedules/adamw_30e.py',
    '_base_/default_runtime_cpu.py',
]

model = dict(
    backbone=dict(stream='pa', motion_cue=dict(compression='sqrt')), cls_head=dict(num_classes=27)
)
