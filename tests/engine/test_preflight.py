import pytest
from mmengine.config import Config

from pan_mm.engine import preflight
from pan_mm.utils.errors import DataError

MEAN_STD = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def config(ann_file, videos, num_clips=8, clip_len=4, **model):
    head = dict(type='VAPHead', num_classes=3, in_channels=512, num_segments=8)
    head.update(model.pop('cls_head', {}))
    backbone = dict(type='PANBackbone', num_segments=8, clip_len=4)
    backbone.update(model.pop('backbone', {}))
    pipeline = [
        dict(type='PANSampleFrames', num_clips=num_clips, clip_len=clip_len),
        dict(type='FormatShape', input_format='NCHW'),
    ]
    dataset = dict(
        type='VideoDataset',
        ann_file=str(ann_file),
        data_prefix=dict(video=str(videos)),
        pipeline=pipeline,
    )
    model = dict(backbone=backbone, cls_head=head, data_preprocessor=MEAN_STD, **model)
    wrapped = dict(type='RepeatDataset', times=2, dataset=dataset)
    return Config(dict(model=model, train_dataloader=dict(dataset=wrapped), val_dataloader=None))


@pytest.fixture
def ann_file(tmp_path):
    path = tmp_path / 'train.txt'
    path.write_text('0.mp4 0\n1.mp4 2\n')
    return path


def test_an_ensemble_is_not_trained(ann_file, videos):
    cfg = config(ann_file, videos)
    cfg.model.update(type='PANEnsemble', streams=dict(rgb=dict(), pa=dict()))
    with pytest.raises(DataError, match='^PANEnsemble is not trained: train each stream'):
        preflight(cfg)
    preflight(cfg, splits=('test',))


def test_sound_config(ann_file, videos):
    preflight(config(ann_file, videos))
    preflight(config('none.txt', videos), splits=('test',))  # only the splits asked for


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_clips=4), 'num_clips=4 of PANSampleFrames, but the model takes 8 segments'),
        (dict(clip_len=1), 'clip_len=1 of PANSampleFrames, but the model takes 4 '),
        (dict(backbone=dict(num_segments=16)), 'num_segments=16 but model.cls_head.num_segments=8'),
        (
            dict(backbone=dict(type='ResNetTSM'), cls_head=dict(num_segments=4)),
            'backbone.num_segments=8 but model.cls_head.num_segments=4',
        ),
        (dict(backbone=dict(type='ResNetTSM')), 'takes 1 adjacent frames of a segment'),
        (dict(cls_head=dict(num_classes=2)), 'train.txt:2: label 2 is outside 0 … 1'),
        (
            dict(cls_head=dict(loss_cls=dict(class_weight=[1.0, 2.0, 1.0]))),
            "loss_cls has no type; add type='CrossEntropyLoss'",
        ),
    ],
)
def test_what_does_not_fit_is_named(ann_file, videos, changes, message):
    with pytest.raises(DataError, match=message):
        preflight(config(ann_file, videos, **changes))


def test_classes_of_several_labels(ann_file, videos):
    cfg = config(ann_file, videos)
    cfg.train_dataloader.dataset.dataset.update(multi_class=True, num_classes=5)
    with pytest.raises(DataError, match='num_classes=5 of VideoDataset but .*num_classes=3'):
        preflight(cfg)


@pytest.mark.parametrize('on', [(), ('PANBackbone',)], ids=['plain', 'PANBackbone'])
def test_pixels_are_normalized_as_the_weights_want(ann_file, videos, on):
    pytest.importorskip('timm')

    def check(kind='pan_mm.EfficientNetLite0', **preprocessor):
        cfg = config(ann_file, videos, cls_head=dict(type='TSNHead'))
        cfg.model.data_preprocessor = preprocessor
        cfg.model.backbone = dict(type=on[0], backbone=dict(type=kind)) if on else dict(type=kind)
        cfg.train_dataloader = None
        preflight(cfg)

    check(mean=[127, 127, 127], std=[128, 128, 128])
    check(mean_std_of='pan_mm.EfficientNetLite0')
    check('ResNetTSM', mean=[1, 2, 3], std=[1, 1, 1])  # nobody says what its weights want
    check('torchvision.resnet18', **MEAN_STD)
    for wrong in (MEAN_STD, dict(mean_std_of='timm.resnet18'), {}):
        with pytest.raises(DataError, match=r'Lite0 are for mean=\[127.5, .*std=\[127.5, '):
            check(**wrong)


def test_pixels_that_nobody_normalizes(ann_file, videos):
    cfg = config(ann_file, videos)
    cfg.model.data_preprocessor = dict(type='ActionDataPreprocessor')
    with pytest.raises(DataError, match='1 problem.*\n.*has no mean and std, .* 0 to 255'):
        preflight(cfg)
    cfg.train_dataloader.dataset.dataset.pipeline.append(dict(type='Normalize', **MEAN_STD))
    preflight(cfg)


def test_labels_are_needed_where_they_are_used(ann_file, videos):
    ann_file.write_text('0.mp4\n')
    cfg = config(ann_file, videos)
    with pytest.raises(DataError, match='train.txt:1: expected .* label'):
        preflight(cfg)
    cfg.test_dataloader = cfg.train_dataloader
    cfg.test_evaluator = [dict(type='DumpResults', out_file_path='scores.pkl')]
    preflight(cfg, splits=('test',))
    cfg.test_evaluator.append(dict(type='AccMetric'))
    with pytest.raises(DataError, match='train.txt:1: expected'):
        preflight(cfg, splits=('test',))


def test_ten_problems_at_most_are_shown(tmp_path, videos):
    ann_file = tmp_path / 'many.txt'
    ann_file.write_text(''.join(f'lost{i}.mp4 0\n' for i in range(25)))
    with pytest.raises(DataError, match=r'(?s)25 problem.*lost9.mp4.*and 15 more') as error:
        preflight(config(ann_file, videos))
    assert 'lost10.mp4' not in str(error.value)
