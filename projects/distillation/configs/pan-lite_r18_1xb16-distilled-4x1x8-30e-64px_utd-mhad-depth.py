# PAN Lite that learns from a trained PAN En too; tools/convert/merge_streams.py joins its streams.
_base_ = [
    '../../../configs/_base_/models/pan_r18.py',
    '../../../configs/_base_/datasets/utd_mhad_64.py',
    '../../../configs/_base_/schedules/adamw_30e_bf16.py',
    '../../../configs/_base_/default_runtime_cpu.py',
]
custom_imports = dict(imports=['pan_mm', 'projects.distillation'])

model = dict(cls_head=dict(num_classes=27))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='DistillationHook',
        config='pan-en_r18_4x1x8-64px_utd-mhad-depth.py',
        checkpoint='work_dirs/pan-en_r18_4x1x8-64px_utd-mhad-depth.pth',
    ),
]
