_base_ = [
    '../../../configs/_base_/models/pan_r18.py',
    '../../../configs/_base_/datasets/motionshapes.py',
    '../../../configs/_base_/schedules/adamw_4e_motionshapes.py',
    '../../../configs/_base_/default_runtime.py',
]
custom_imports = dict(imports=['pan_mm', 'projects.pa_attention'])

model = dict(
    backbone=dict(type='AttentionPANBackbone', stream='attention'), cls_head=dict(num_classes=12)
)
