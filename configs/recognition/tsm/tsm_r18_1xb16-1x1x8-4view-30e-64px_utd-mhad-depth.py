# TSM, tested on four clips of eight frames: the number that PAN sees. It is trained on one clip.
_base_ = [
    '../../_base_/models/tsm_r18.py',
    '../../_base_/datasets/utd_mhad_1x1x8_64.py',
    '../../_base_/schedules/adamw_30e_bf16.py',
    '../../_base_/default_runtime_cpu.py',
]

model = dict(cls_head=dict(num_classes=27))
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='UniformSample', clip_len=8, num_clips=4, test_mode=True)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
