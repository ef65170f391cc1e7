# PA with a batch norm of its maps, which a search may give other options of MotionCues.
_base_ = [
    '_base_/pan_r18_norm.py',
    '../../../configs/_base_/datasets/utd_mhad_64.py',
    '../../../configs/_base_/schedules/adamw_30e_bf16.py',
    '_base_/default_runtime_cpu.py',
]

model = dict(backbone=dict(stream='pa'), cls_head=dict(num_classes=27))
