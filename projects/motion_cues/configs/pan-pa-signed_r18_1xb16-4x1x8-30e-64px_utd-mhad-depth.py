# PA beside the signed difference, which shows the direction of a change; each normalized.
_base_ = [
    '_base_/pan_r18_norm.py',
    '../../../configs/_base_/datasets/utd_mhad_64.py',
    '../../../configs/_base_/schedules/adamw_30e_bf16.py',
    '_base_/default_runtime_cpu.py',
]

cues = [
    dict(type='PersistenceOfAppearance', init_std=0.1),
    dict(type='FrameDifference', absolute=False),
]
model = dict(backbone=dict(stream='pa', motion_cue=dict(cues=cues)), cls_head=dict(num_classes=27))
