import pytest
from mmengine.config import Config

from pan_mm.config.pipelines import (
    VideoPipeline,
    dataset_of,
    kind_of,
    leaf_datasets,
    set_arguments,
    set_sizes,
)


class TestView:
    def cfg(self, *transforms, **sampling):
        sample = dict(type='PANSampleFrames', clip_len=4, num_clips=8, **sampling)
        pipeline = [sample, dict(type='Resize', scale=(-1, 256)), *transforms]
        return Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))

    @pytest.mark.parametrize(
        ('sampling', 'transforms', 'expected'),
        [
            ({}, [dict(type='CenterCrop', crop_size=224)], (1, (32, 3, 224, 224))),
            (
                dict(twice_sample=True),
                [dict(type='ThreeCrop', crop_size=(320, 256))],  # (W, H)
                (6, (32, 3, 256, 320)),
            ),
            ({}, [dict(type='Resize', scale=(64, 48), keep_ratio=False)], (1, (32, 3, 48, 64))),
        ],
    )
    def test_pipelines(self, sampling, transforms, expected):
        pipeline = VideoPipeline(self.cfg(*transforms, **sampling))
        assert (pipeline.num_views, pipeline.view_shape()) == expected

    def test_frames_of_any_size(self):
        with pytest.raises(ValueError, match='does not fix'):
            VideoPipeline(self.cfg()).view_shape()


def test_kinds():
    kinds = dict(
        open='mmaction.DecordInit',
        decode='RawFrameDecode',
        sample='UniformSample',
        pack='PackActionInputs',
        change='FormatShape',
    )
    assert all(kind_of(dict(type=name)) == kind for kind, name in kinds.items())


def test_wrapped_datasets():
    leaves = [dict(type='VideoDataset', ann_file=name) for name in 'ab']
    wrapped = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=leaves))
    assert list(leaf_datasets(wrapped)) == leaves
    assert dataset_of(dict(test_dataloader=dict(dataset=wrapped))) == leaves[0]
    assert dataset_of({}) == {}


def test_frame_transforms_start_after_the_decoder():
    transforms = [
        dict(type='VideoInit'),
        dict(type='PANSampleFrames', clip_len=4),
        dict(type='VideoDecode'),
        dict(type='Resize', scale=(32, 32), keep_ratio=False),
        dict(type='PackActionInputs'),
    ]
    kept = VideoPipeline(Config(dict(test_pipeline=transforms))).frame_transforms().transforms
    assert [type(transform).__name__ for transform in kept] == ['Resize']


def test_arguments_and_sizes_reach_every_pipeline():
    def pipeline(size):
        return [
            dict(type='PANSampleFrames', clip_len=4),
            dict(type='Resize', scale=(-1, 256)),
            dict(type='CenterCrop', crop_size=size),
        ]

    inner = dict(type='VideoDataset', pipeline=pipeline(224))
    config = dict(
        train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=inner)),
        val_dataloader=None,
        accurate_pipeline=pipeline(256),
    )
    set_arguments(config, 'PANSampleFrames', clip_len=1)
    set_sizes(config, {256: 128, 224: 112})
    for own, size in ((inner['pipeline'], 112), (config['accurate_pipeline'], 128)):
        assert own == [
            dict(type='PANSampleFrames', clip_len=1),
            dict(type='Resize', scale=(-1, 128)),
            dict(type='CenterCrop', crop_size=size),
        ]
