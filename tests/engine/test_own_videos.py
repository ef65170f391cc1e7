"""The recipe for own videos."""

import shutil

import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pan_mm.config.scale import apply_scale
from pan_mm.engine import own_videos as recipe
from pan_mm.engine.half import multiplies_bfloat16
from pan_mm.engine.own_videos import (
    OWN_MODELS,
    OwnVideos,
    StepCost,
    read_own_videos,
    sided,
    write_config,
)
from pan_mm.utils.errors import DataError


@pytest.fixture
def folder(videos, tmp_path):
    """Six training videos of two classes and two for validation, with their lists."""
    for label, name in enumerate(('clap', 'wave')):
        shutil.copytree(videos, tmp_path / name)
        for split, numbers in dict(train=(0, 1, 2), val=(3,)).items():
            with open(tmp_path / f'{split}.txt', 'a') as file:
                file.writelines(f'{name}/{number}.mp4 {label}\n' for number in numbers)
    (tmp_path / 'label_map.txt').write_text('clap\nwave\n')
    return tmp_path


@pytest.fixture
def second_a_step(monkeypatch):
    second = StepCost(0.0, 1.0)
    monkeypatch.setattr(recipe, 'measure_step', lambda config, size: second.at(size / 64))


def load(path):
    cfg = Config.fromfile(path)
    apply_scale(cfg)
    return cfg


@pytest.mark.parametrize(
    ('clips', 'minutes', 'size', 'expected'),
    [
        (50, 10, None, (64, 200, 600)),  # 600 steps of small frames
        (50, 60, None, (112, 392, 1176)),  # the largest
        (50, 20, None, (96, 178, 534)),  # the largest that leave 400
        (50, 60, 64, (64, 667, 2001)),  # not beyond 2000
        (16_000, 6000, 64, (64, 60, 60_000)),  # 60 epochs
        (3, 0.01, 64, (64, 1, 1)),
    ],
)
def test_schedule(clips, minutes, size, expected, folder, second_a_step):
    videos = OwnVideos(folder, ['clap', 'wave'], [0, 1] * (clips // 2) + [0] * (clips % 2))
    schedule = write_config(folder / 'own.py', 'tsm', videos, minutes, size)
    assert schedule[:3] == expected
    assert schedule.cost == StepCost(0.0, (schedule.size / 64) ** 2)


def test_decoding_costs_the_same_at_any_size(folder, monkeypatch):
    monkeypatch.setattr(recipe, 'measure_step', lambda config, size: StepCost(4.0, 1.0))
    videos = OwnVideos(folder, ['clap', 'wave'], [0, 1] * 25)
    schedule = write_config(folder / 'own.py', 'tsm', videos, 60)
    assert schedule == (112, 170, 510, StepCost(4.0, 3.0625))
    assert schedule.duration == 'about 60 min of one core'


@pytest.mark.parametrize('model', OWN_MODELS)
def test_each_model_has_a_config_that_builds(model, folder, second_a_step):
    videos = read_own_videos(folder)
    write_config(folder / 'own.py', model, videos, 10, 64)
    cfg = load(folder / 'own.py')
    init_default_scope('mmaction')
    cfg.model.backbone.pop('pretrained', None)
    if 'backbone' in cfg.model.backbone:
        cfg.model.backbone.backbone.pretrained = None
    model = MODELS.build(cfg.model)
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    data = model.data_preprocessor(
        dict(inputs=[sample['inputs']] * 2, data_samples=[sample['data_samples']] * 2)
    )
    losses = model(**data, mode='loss')
    assert losses['loss_cls'].isfinite() and sample['inputs'].shape[-2:] == (64, 64)
    assert cfg.test_dataloader.dataset.metainfo.classes == ['clap', 'wave']
    assert any(hook['type'] == 'VerdictHook' for hook in cfg.custom_hooks)


def test_what_the_videos_ask_for(folder, second_a_step):
    videos = OwnVideos(folder, ['go left', "it's up"], [0] * 30 + [1] * 5)
    write_config(folder / 'own.py', 'pan-pa', videos, 10, 64)
    cfg = load(folder / 'own.py')
    assert cfg.train_dataloader.sampler.type == 'ClassBalancedSampler'
    assert cfg.train_dataloader.dataset.metainfo.classes == ['go left', "it's up"]
    assert cfg.train_cfg.max_epochs == 300 and cfg.train_cfg.val_interval == 30
    assert cfg.param_scheduler[0].end == 15 and cfg.param_scheduler[1].end == 300
    write_config(folder / 'own.py', 'pan-pa', videos._replace(labels=[0] * 9 + [1] * 9), 10, 64)
    cfg = load(folder / 'own.py')
    assert cfg.train_dataloader.sampler.type == 'DefaultSampler'


@pytest.mark.parametrize(
    'half', sorted({False, multiplies_bfloat16()})
)  # emulated, it takes minutes
def test_a_step_is_measured_and_random_numbers_stay(folder, monkeypatch, half):
    monkeypatch.setattr(recipe, 'multiplies_bfloat16', lambda: half)
    write_config(folder / 'own.py', 'tsm', read_own_videos(folder), 0.01, 32)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    small, large = (recipe.measure_step(folder / 'own.py', size, 1) for size in (32, 128))
    assert 0 < small.computing < large.computing and small.reading > 0
    assert torch.equal(torch.rand(3), expected)


def test_sides():
    names = [
        'turnLeft',
        'swipe_right',
        'nach links',
        'draw_circle_CCW',
        'clockwise',
        '向左',
        'upright',
    ]
    assert sided([*names, 'leftover', 'bright', 'walk']) == names[:-1]


def test_bad_input(folder):
    (folder / 'val.txt').unlink()
    with pytest.raises(DataError, match=r'val\.txt: no such list; .*build_list'):
        read_own_videos(folder)
