auto_scale_lr = dict(base_batch_size=16, enable=False)
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'pan_mm',
    ])
data_root = 'data/motionshapes'
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=3,
        save_best='auto',
        type='SafeCheckpointHook'),
    data_faults=dict(max_faults=100, timeout=600, type='DataFaultHook'),
    invalid_loss=dict(type='InvalidLossHook'),
    logger=dict(ignore_last=False, interval=20, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(enable=False, type='VisualizationHook'))
default_scope = 'mmaction'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=True, type='LogProcessor', window_size=20)
model = dict(
    backbone=dict(depth=18, pretrained=None, type='ResNet'),
    cls_head=dict(
        average_clips='score',
        dropout_ratio=0.5,
        in_channels=512,
        init_std=0.01,
        num_classes=12,
        type='TSNHead'),
    data_preprocessor=dict(
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='ActionDataPreprocessor'),
    type='Recognizer2D')
optim_wrapper = dict(
    clip_grad=dict(max_norm=20, norm_type=2),
    optimizer=dict(lr=0.002, type='AdamW', weight_decay=0.02))
param_scheduler = [
    dict(by_epoch=False, end=20, start_factor=0.1, type='LinearLR'),
    dict(
        T_max=4,
        by_epoch=True,
        convert_to_iter_based=True,
        end=4,
        eta_min=0,
        type='CosineAnnealingLR'),
]
randomness = dict(deterministic=False, diff_rank_seed=False, seed=0)
resume = False
runner_type = 'CheckedRunner'
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root='data/motionshapes',
        pipeline=[
            dict(type='VideoInit'),
            dict(
                clip_len=1,
                num_clips=8,
                test_mode=True,
                type='PANSampleFrames'),
            dict(type='VideoDecode'),
            dict(input_format='NCHW', type='FormatShape'),
            dict(type='PackActionInputs'),
        ],
        split='test',
        test_mode=True,
        type='MotionShapesDataset'),
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(type='AccMetric')
test_pipeline = [
    dict(type='VideoInit'),
    dict(clip_len=1, num_clips=8, test_mode=True, type='PANSampleFrames'),
    dict(type='VideoDecode'),
    dict(input_format='NCHW', type='FormatShape'),
    dict(type='PackActionInputs'),
]
train_cfg = dict(max_epochs=4, type='EpochBasedTrainLoop', val_begin=4)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root='data/motionshapes',
        pipeline=[
            dict(type='VideoInit'),
            dict(clip_len=1, num_clips=8, type='PANSampleFrames'),
            dict(type='VideoDecode'),
            dict(input_format='NCHW', type='FormatShape'),
            dict(type='PackActionInputs'),
        ],
        split='train',
        type='MotionShapesDataset'),
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(type='VideoInit'),
    dict(clip_len=1, num_clips=8, type='PANSampleFrames'),
    dict(type='VideoDecode'),
    dict(input_format='NCHW', type='FormatShape'),
    dict(type='PackActionInputs'),
]
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=16,
    dataset=dict(
        data_root='data/motionshapes',
        pipeline=[
            dict(type='VideoInit'),
            dict(
                clip_len=1,
                num_clips=8,
                test_mode=True,
                type='PANSampleFrames'),
            dict(type='VideoDecode'),
            dict(input_format='NCHW', type='FormatShape'),
            dict(type='PackActionInputs'),
        ],
        split='val',
        test_mode=True,
        type='MotionShapesDataset'),
    num_workers=1,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(type='AccMetric')
val_pipeline = [
    dict(type='VideoInit'),
    dict(clip_len=1, num_clips=8, test_mode=True, type='PANSampleFrames'),
    dict(type='VideoDecode'),
    dict(input_format='NCHW', type='FormatShape'),
    dict(type='PackActionInputs'),
]
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    type='ActionVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/tsn_r18_1xb16-1x1x8-4e_motionshapes-rgb_seed0'
