# TSM with the maximum over segments instead of VAP.
_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x8_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

pooling = dict(type='SegmentPooling', mode='max')
model = dict(cls_head=dict(type='VAPHead', aggregation=pooling, num_classes=27))
