import pytest
from mmengine.config import Config

from pan_mm.engine import preflight
from pan_mm.utils.errors import DataError


def config(ann_file, videos, num_clips=8, clip_len=4, sampler='PANSampleFrames', **model):
    head = dict(type='VAPHead', num_classes=3, in_channels=512, num_segments=8)
    head.update(model.pop('cls_head', {}))
    backbone = dict(type='PANBackbone', num_segments=8, clip_len=4)
    backbone.update(model.pop('backbone', {}))
    dataset = dict(
        type='VideoDataset',
        ann_file=str(ann_file),
        data_prefix=dict(video=str(videos)),
        pipeline=[dict(type=sampler, num_clips=num_clips, clip_len=clip_len)],
    )
    return Config(
        dict(
            model=dict(backbone=backbone, cls_head=head),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset)),
            val_dataloader=None,
        )
    )


@pytest.fixture
def ann_file(tmp_path):
    path = tmp_path / 'train.txt'
    path.write_text('0.mp4 0\n1.mp4 2\n')
    return path


def test_sound_config(ann_file, videos):
    preflight(config(ann_file, videos))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_clips=4), 'num_clips=4 of PANSampleFrames, but the model takes 8 segments'),
        (dict(clip_len=1), 'clip_len=1 of PANSampleFrames, but the model takes 4 '),
        (dict(backbone=dict(num_segments=16)), 'num_segments=16 but model.cls_head.num_segments=8'),
        (dict(cls_head=dict(type='TSMHead', num_segments=4)), 'cls_head.num_segments=4'),
        (
            dict(backbone=dict(type='ResNetTSM'), cls_head=dict(num_segments=4)),
            'backbone.num_segments=8 but model.cls_head.num_segments=4',
        ),
        (dict(backbone=dict(type='ResNetTSM')), 'takes 1 adjacent frames of each'),
        (dict(cls_head=dict(num_classes=2)), 'train.txt:2: label 2 is outside 0 … 1'),
    ],
)
def test_what_does_not_fit_is_named(ann_file, videos, changes, message):
    with pytest.raises(DataError, match=message):
        preflight(config(ann_file, videos, **changes))


def test_a_comma_behind_a_dataloader(ann_file, videos):
    cfg = config(ann_file, videos)
    cfg.train_dataloader = (cfg.train_dataloader,)
    with pytest.raises(DataError, match='train_dataloader is a tuple, not a dict; is a comma'):
        preflight(cfg)


@pytest.mark.parametrize('on', [(), ('PANBackbone',)], ids=['plain', 'PANBackbone'])
def test_pixels_are_normalized_as_the_weights_want(ann_file, videos, on):
    pytest.importorskip('timm')

    def check(kind='pan_mm.EfficientNetLite0', **preprocessor):
        own = dict(type='PANBackbone', backbone=dict(type=kind)) if on else dict(type=kind)
        cfg = config(ann_file, videos, cls_head=dict(type='TSNHead'))
        cfg.model.update(data_preprocessor=preprocessor)
        cfg.model.backbone = own
        cfg.train_dataloader = None
        preflight(cfg)

    check(mean=[127, 127, 127], std=[128, 128, 128])
    check(mean_std_of='pan_mm.EfficientNetLite0')
    check('ResNetTSM', mean=[1, 2, 3], std=[1, 1, 1])  # nobody says what its weights want
    imagenet = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    check('torchvision.resnet18', **imagenet)
    for wrong in (imagenet, dict(mean_std_of='timm.resnet18'), {}):
        with pytest.raises(DataError, match=r'Lite0 are for mean=\[127.5, .*std=\[127.5, '):
            check(**wrong)


VIDEO = [
    dict(type='VideoInit'),
    dict(type='PANSampleFrames', clip_len=4),
    dict(type='VideoDecode'),
    dict(type='FormatShape', input_format='NCHW'),
]
MEAN_STD = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def whole(ann_file, videos, pipeline=VIDEO, depth=18, mean_std=MEAN_STD, **changes):
    """A config of which all but videos is there."""
    cfg = config(ann_file, videos)
    cfg.train_dataloader.dataset.dataset.pipeline = pipeline
    cfg.model.type = 'Recognizer2D'
    cfg.model.backbone.backbone = dict(type='ResNetTSM', depth=depth, pretrained='https://no.where')
    cfg.model.data_preprocessor = dict(type='ActionDataPreprocessor', **mean_std)
    cfg.merge_from_dict(changes)
    return cfg


def test_channels_of_the_head_are_those_of_the_backbone(ann_file, videos):
    preflight(whole(ann_file, videos))
    with pytest.raises(DataError, match='1 problem.*\n.*=512, but .* have 2048 channels; set mod'):
        preflight(whole(ann_file, videos, depth=50))


def test_clips_of_a_3d_backbone_that_vap_does_not_take(ann_file, videos):
    pipeline = [
        dict(type='VideoInit'),
        dict(type='SampleFrames', clip_len=8),
        dict(type='VideoDecode'),
        dict(type='FormatShape', input_format='NCTHW'),
    ]
    cfg = whole(ann_file, videos, pipeline)
    cfg.model.type = 'Recognizer3D'
    cfg.model.backbone = dict(
        type='ResNet3dSlowOnly', depth=18, pretrained=None, conv1_stride_t=2, pool1_stride_t=1
    )
    with pytest.raises(DataError, match='num_segments=8, but .* makes 4 feature maps of a clip'):
        preflight(cfg)


def test_pixels_that_nobody_normalizes(ann_file, videos):
    with pytest.raises(DataError, match='1 problem.*\n.*has no mean and std, .* 0 to 255'):
        preflight(whole(ann_file, videos, mean_std={}))
    pipeline = [*VIDEO, dict(type='Normalize', **MEAN_STD)]
    preflight(whole(ann_file, videos, pipeline, mean_std={}))


def test_clips_that_nobody_averages(ann_file, videos):
    evaluated = dict(
        test_evaluator=dict(type='AccMetric'),
        test_dataloader=whole(ann_file, videos).train_dataloader,
    )
    with pytest.raises(DataError, match="1 problem.*\n.*average_clips .* set 'prob' or 'score'"):
        preflight(whole(ann_file, videos, **evaluated), ('test',))
    average = {'model.cls_head.average_clips': 'prob'}
    preflight(whole(ann_file, videos, **evaluated, **average), ('test',))


def test_weights_of_classes(ann_file, videos):
    cfg = whole(ann_file, videos)
    for kind, weights, said in (
        ({}, [1.0, 2.0], "loss_cls has no type; add type='CrossEntropyLoss'"),
        (dict(type='CrossEntropyLoss'), [1.0], 'has 1 weights, but num_classes=3; give one for'),
    ):
        cfg.model.cls_head.loss_cls = dict(kind, class_weight=weights)
        with pytest.raises(DataError, match=said):
            preflight(cfg)
    cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 1.0])
    preflight(cfg)


def test_labels_are_needed_where_they_are_used(ann_file, videos):
    ann_file.write_text('0.mp4\n')
    cfg = config(ann_file, videos)
    with pytest.raises(DataError, match='train.txt:1: expected "video label", got'):
        preflight(cfg)
    cfg.test_dataloader = cfg.train_dataloader
    cfg.test_evaluator = [dict(type='DumpResults', out_file_path='scores.pkl')]
    preflight(cfg, splits=('test',))
    cfg.test_evaluator.append(dict(type='AccMetric'))
    with pytest.raises(DataError, match='expected "video label", got'):
        preflight(cfg, splits=('test',))


def test_ten_problems_at_most_are_shown(tmp_path, videos):
    ann_file = tmp_path / 'many.txt'
    ann_file.write_text(''.join(f'lost{i}.mp4 0\n' for i in range(25)))
    with pytest.raises(DataError, match=r'(?s)25 problem.*lost9.mp4.*and 15 more') as error:
        preflight(config(ann_file, videos))
    assert 'lost10.mp4' not in str(error.value)


def test_only_the_splits_asked_for(tmp_path, videos):
    preflight(config(tmp_path / 'none.txt', videos), splits=('test',))


def test_data_root_is_joined(ann_file, videos):
    cfg = config(ann_file.name, '', cls_head=dict(num_classes=2))
    dataset = cfg.train_dataloader.dataset.dataset
    dataset.data_root = str(ann_file.parent)
    dataset.data_prefix = dict(video=str(videos))
    with pytest.raises(DataError, match='1 problem.*\n.*label 2'):
        preflight(cfg)
