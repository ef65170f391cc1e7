# TSM with one dropout after pooling, as in VAP's head.
_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x8_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

pooling = dict(type='SegmentPooling', mode='mean')
model = dict(cls_head=dict(type='VAPHead', aggregation=pooling, num_classes=27))
