"""``size`` and ``epochs`` reach all that depends on them, in a runner and in a prediction."""

import pytest
from mmaction.registry import RUNNERS
from mmengine.config import Config

from builders import tiny_config
from pan_mm.config.pipelines import VideoPipeline, frame_size_of
from pan_mm.inference.recognizer import load_config

CUSTOM = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_custom-rgb'
UTD = 'pan-lite_r18_1xb16-4x1x8-30e-64px_utd-mhad-depth'


def scaled(name, **options):
    return load_config(name, options)


def test_size_reaches_every_pipeline():
    cfg, plain = scaled(CUSTOM, size=112), scaled(CUSTOM)
    for split in ('train', 'val', 'test'):
        pipeline = cfg[f'{split}_dataloader'].dataset.pipeline
        assert frame_size_of(pipeline) == (112, 112)
        assert pipeline[3].scale == (-1, 128)  # in proportion to (-1, 256)
        assert plain[f'{split}_dataloader'].dataset.pipeline[3].scale == (-1, 256)
    crop = cfg.train_dataloader.dataset.pipeline[4]
    assert (crop.input_size, crop.scales) == (112, (1, 0.875, 0.75, 0.66))
    assert frame_size_of(cfg.accurate_pipeline) == (112, 112)
    assert VideoPipeline(cfg).view_shape() == (32, 3, 112, 112)
    assert cfg.size is None


@pytest.mark.parametrize('name', [CUSTOM, UTD])
def test_epochs_reach_the_schedule(name):
    plain, cfg = scaled(name), scaled(name, epochs=20)
    *warm_up, last = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, last.end, cfg.epochs) == (20, 20, None)
    if name == CUSTOM:
        assert last.milestones == [round(20 * 30 / 80), 15]
    else:
        assert last.T_max == 20
        assert warm_up == plain.param_scheduler[:-1] and warm_up[0].end == 1


@pytest.mark.parametrize(('name', 'size', 'epochs'), [(CUSTOM, 224, 80), (UTD, 64, 30)])
def test_what_a_config_has_already_changes_nothing(name, size, epochs):
    same, plain = scaled(name, size=size, epochs=epochs), scaled(name)
    for key in ('train_dataloader', 'test_dataloader', 'param_scheduler', 'train_cfg'):
        assert same[key] == plain[key]


def test_the_runner_resolves_them(tmp_path, videos):
    names = [f'{index}.mp4' for index in range(4)]
    cfg = tiny_config(tmp_path, videos, names, runner_type='CheckedRunner', size=16, epochs=1)
    cfg.custom_imports = dict(imports=['pan_mm'])
    runner = RUNNERS.build(cfg)
    runner.train()
    assert runner.epoch == 1
    assert runner.train_dataloader.dataset[0]['inputs'].shape[-2:] == (16, 16)
    dumped = Config.fromfile(next((tmp_path / 'work').glob('*.py')))
    assert (dumped.train_cfg.max_epochs, dumped.size) == (1, None)
    assert cfg.size == 16  # the caller's own stays


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        (CUSTOM, dict(size='112px'), "size='112px': it must be a positive whole number"),
        (CUSTOM, dict(epochs=0), 'epochs=0: it must be'),
        (
            'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
            dict(size=112),
            r'size=112: no transform of a pipeline \(VideoInit, .*\) fixes the size',
        ),
        ('pan-full_r50_4x1x8_sthv2-rgb', dict(epochs=3), 'no train_cfg.max_epochs'),
    ],
)
def test_bad_input(name, options, message):
    with pytest.raises(ValueError, match=message):
        load_config(name, options)
