augment = dict(
    accurate=[
        dict(scale=(
            -1,
            256,
        ), type='Resize'),
        dict(crop_size=256, type='CenterCrop'),
    ],
    train=[
        dict(scale=(
            -1,
            128,
        ), type='Resize'),
        dict(
            input_size=112,
            max_wh_scale_gap=1,
            num_fixed_crops=13,
            scales=(
                1,
                0.875,
                0.75,
            ),
            type='MultiScaleCrop'),
        dict(keep_ratio=False, scale=(
            112,
            112,
        ), type='Resize'),
    ],
    val=[
        dict(scale=(
            -1,
            128,
        ), type='Resize'),
        dict(crop_size=112, type='CenterCrop'),
    ])
auto_scale_lr = dict(base_batch_size=16, enable=False)
custom_hooks = [
    dict(type='ChannelsLastHook'),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'pan_mm',
    ])
dataset = dict(
    data_prefix=dict(video=''),
    data_root='data/utd_mhad_depth27',
    type='VideoDataset')
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=1,
        save_best=None,
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
    backbone=dict(
        backbone=dict(
            depth=18, pretrained=None, shift_div=8, type='ResNetTSM'),
        clip_len=4,
        num_segments=8,
        persistence=dict(init_std=0.1, type='PersistenceOfAppearance'),
        stream='lite',
        type='PANBackbone'),
    cls_head=dict(
        average_clips='score',
        dropout_ratio=0.5,
        in_channels=512,
        init_std=0.01,
        num_classes=27,
        num_segments=8,
        type='VAPHead'),
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
        type='PANDataPreprocessor'),
    type='Recognizer2D')
optim_wrapper = dict(
    clip_grad=dict(max_norm=20, norm_type=2),
    optimizer=dict(lr=0.001, type='AdamW', weight_decay=0.02))
pack = [
    dict(input_format='NCHW', type='FormatShape'),
    dict(
        meta_keys=(
            'img_shape',
            'filename',
            'frame_dir',
        ),
        type='PackActionInputs'),
]
param_scheduler = [
    dict(
        by_epoch=True,
        convert_to_iter_based=True,
        end=1,
        start_factor=0.1,
        type='LinearLR'),
    dict(
        T_max=30,
        by_epoch=True,
        convert_to_iter_based=True,
        end=30,
        eta_min=0,
        type='CosineAnnealingLR'),
]
randomness = dict(deterministic=False, diff_rank_seed=False, seed=0)
resume = False
runner_type = 'CheckedRunner'
sample = dict(
    accurate=dict(
        clip_len=4,
        num_clips=8,
        test_mode=True,
        twice_sample=True,
        type='PANSampleFrames'),
    train=dict(clip_len=4, num_clips=8, type='PANSampleFrames'),
    val=dict(clip_len=4, num_clips=8, test_mode=True, type='PANSampleFrames'))
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file='annotations/dev_val.txt',
        data_prefix=dict(video=''),
        data_root='data/utd_mhad_depth27',
        pipeline=[
            dict(type='VideoInit'),
            dict(
                clip_len=4,
                num_clips=8,
                test_mode=True,
                type='PANSampleFrames'),
            dict(type='VideoDecode'),
            dict(scale=(
                -1,
                72,
            ), type='Resize'),
            dict(crop_size=64, type='CenterCrop'),
            dict(input_format='NCHW', type='FormatShape'),
            dict(
                meta_keys=(
                    'img_shape',
                    'filename',
                    'frame_dir',
                ),
                type='PackActionInputs'),
        ],
        test_mode=True,
        type='VideoDataset'),
    num_workers=2,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(type='AccMetric')
test_pipeline = [
    dict(type='VideoInit'),
    dict(clip_len=4, num_clips=8, test_mode=True, type='PANSampleFrames'),
    dict(type='VideoDecode'),
    dict(scale=(
        -1,
        128,
    ), type='Resize'),
    dict(crop_size=112, type='CenterCrop'),
    dict(input_format='NCHW', type='FormatShape'),
    dict(
        meta_keys=(
            'img_shape',
            'filename',
            'frame_dir',
        ),
        type='PackActionInputs'),
]
train_cfg = dict(max_epochs=30, type='EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        ann_file='annotations/dev_train.txt',
        data_prefix=dict(video=''),
        data_root='data/utd_mhad_depth27',
        pipeline=[
            dict(type='VideoInit'),
            dict(clip_len=4, num_clips=8, type='PANSampleFrames'),
            dict(type='VideoDecode'),
            dict(scale=(
                -1,
                72,
            ), type='Resize'),
            dict(
                input_size=64,
                max_wh_scale_gap=1,
                num_fixed_crops=13,
                scales=(
                    1,
                    0.875,
                    0.75,
                ),
                type='MultiScaleCrop'),
            dict(keep_ratio=False, scale=(
                64,
                64,
            ), type='Resize'),
            dict(input_format='NCHW', type='FormatShape'),
            dict(
                meta_keys=(
                    'img_shape',
                    'filename',
                    'frame_dir',
                ),
                type='PackActionInputs'),
        ],
        type='VideoDataset'),
    num_workers=2,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(type='VideoInit'),
    dict(clip_len=4, num_clips=8, type='PANSampleFrames'),
    dict(type='VideoDecode'),
    dict(scale=(
        -1,
        128,
    ), type='Resize'),
    dict(
        input_size=112,
        max_wh_scale_gap=1,
        num_fixed_crops=13,
        scales=(
            1,
            0.875,
            0.75,
        ),
        type='MultiScaleCrop'),
    dict(keep_ratio=False, scale=(
        112,
        112,
    ), type='Resize'),
    dict(input_format='NCHW', type='FormatShape'),
    dict(
        meta_keys=(
            'img_shape',
            'filename',
            'frame_dir',
        ),
        type='PackActionInputs'),
]
val_cfg = None
val_dataloader = None
val_evaluator = None
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    type='ActionVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth_dev_64px_seed0'
