_base_ = [
    '../../../configs/_base_/models/pan_r18.py',
    '../../../configs/_base_/datasets/utd_mhad.py',
    '../../../configs/_base_/schedules/adamw_30e.py',
    '../../../configs/_base_/default_runtime_cpu.py',
]
custom_imports = dict(imports=['pan_mm', 'projects.pa_attention'])

model = dict(
    backbone=dict(type='AttentionPANBackbone', stream='attention'), cls_head=dict(num_classes=27)
)
