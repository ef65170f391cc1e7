# PA with the sign of the mean feature difference.
_base_ = [
    '../../../configs/_base_/models/pan_r18.py',
    '../../../configs/_base_/datasets/utd_mhad_64.py',
    '../../../configs/_base_/schedules/adamw_30e_bf16.py',
    '_base_/default_runtime_cpu.py',
]

cue = dict(_delete_=True, type='SignedPersistence', init_std=0.01, init_delta=1.0)
model = dict(backbone=dict(stream='pa', motion_cue=cue), cls_head=dict(num_classes=27))
