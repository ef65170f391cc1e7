_base_ = [
    '../../_base_/models/pan_r50.py',
    '../../_base_/datasets/utd_mhad_224.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_no_val.py',
]

model = dict(
    backbone=dict(
        backbone=dict(pretrained=None),
        persistence=dict(type='PersistenceOfAppearance', init_std=0.1),
    ),
    cls_head=dict(num_classes=27, init_std=0.01),
)
