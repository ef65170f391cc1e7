# TSM on the number of frames that PAN sees.
_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x8_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

from pan_mm.config.pipelines import set_arguments

set_arguments(_base_, 'PANSampleFrames', num_clips=32)
model = dict(backbone=dict(num_segments=32), cls_head=dict(num_segments=32, num_classes=27))
