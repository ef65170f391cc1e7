# Square roots of PA's maps, then a batch norm: what a search on the dev split chose.
_base_ = [
    '../../_base_/models/pan_r18.py',
    '../../_base_/datasets/utd_mhad.py',
    '../../_base_/schedules/adamw_30e.py',
    '../../_base_/default_runtime_cpu.py',
]

cues = [dict(type='PersistenceOfAppearance', init_std=0.1)]
cues = dict(_delete_=True, type='MotionCues', cues=cues, norm_scale=1.0, compression='sqrt')
model = dict(backbone=dict(stream='pa', persistence=cues), cls_head=dict(num_classes=27))
