import pytest
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

import pan_mm  # noqa: F401  registers the parts
from builders import ROOT, tiny_config
from pan_mm.config.find import require_config
from pan_mm.config.overrides import argument, check_options, check_settings
from pan_mm.engine import CheckedRunner
from pan_mm.utils.errors import ConfigError

CONFIG = ROOT / 'configs/recognition/pan/pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb.py'


@pytest.fixture
def cfg():
    return Config.fromfile(CONFIG)


LEGITIMATE = [
    'model.cls_head.topk=1',  # of its parent, by **kwargs
    'model.backbone.backbone.norm_eval=True',
    'model.backbone.backbone.norm_cfg.requires_grad=False',  # taken out by who builds the layer
    'model.test_cfg.max_testing_views=32',
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'find_unused_parameters=True',
    'compile=True',
    'env_cfg.dist_cfg.backend=gloo',
    'train_dataloader.collate_fn.type=default_collate',
    'default_hooks.checkpoint.priority=LOW',
    'custom_hooks.type=EMAHook',
    'optim_wrapper.paramwise_cfg.norm_decay_mult=0',
    'optim_wrapper.type=AmpOptimWrapper',
    'param_scheduler.0.convert_to_iter_based=True',
    'randomness.seed=1',
    'resume=True',
    'preflight=False',
]


def parsed(*options):
    pairs = (option.partition('=') for option in options)
    return {key: DictAction._parse_iterable(value) for key, _, value in pairs}


def test_options_of_one_runner(cfg):
    check_options(cfg, ['size', 'epochs'], CheckedRunner)
    with pytest.raises(ConfigError, match='2 setting'):
        check_options(cfg, ['size', 'epochs'], Runner)


@pytest.mark.parametrize('runner', [Runner, CheckedRunner])
def test_what_may_be_set(cfg, runner):
    options = parsed(*LEGITIMATE)
    check_options(cfg, options, runner)
    cfg.merge_from_dict(options)
    cfg.custom_hooks = [cfg.custom_hooks]
    check_settings(cfg, runner)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.backbone.strem=pa', "PANBackbone has no argument 'strem'; the nearest: stream"),
        ('model.cls_head.avrage_clips=prob', 'the nearest: average_clips'),  # of its parent
        ('optim_wrapper.optimizer.lrr=1', "AdamW has no argument 'lrr'; the nearest: lr"),
        ('train_dataloader.batchsize=1', 'DataLoader .*; the nearest: batch_size'),
        ('train_dataloader.dataset.pipeline.1.clip_lenn=1', 'the nearest: clip_len'),
        ('randomness.sed=1', 'set_randomness .*; the nearest: seed'),
        ('model.backbone.backbone.with_cp=True', 'blocks of depth 18 cannot recompute'),
    ],
)
def test_what_nothing_takes(cfg, option, message):
    cfg.merge_from_dict(parsed(option))
    place = option.partition('=')[0]
    with pytest.raises(ConfigError, match=rf'1 setting.*\n  {place}: .*{message}'):
        check_settings(cfg)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'data_root',
            'set train_dataloader.dataset.data_root and val_dataloader.dataset',
        ),
        ('optimizer.lr', 'set optim_wrapper.optimizer.lr'),
        ('lr', 'set optim_wrapper.optimizer.lr'),
        ('test_pipeline.1.num_clips', r'set .*test_dataloader.dataset.pipeline.1.num_clips'),
        ('train_dataloder.batch_size', 'set train_dataloader.batch_size'),
    ],
)
def test_options_that_change_nothing(cfg, option, message):
    with pytest.raises(ConfigError, match=f'{option}: a run does not read .*{message}'):
        check_options(cfg, [option])


def test_each_is_named_by_its_place():
    cfg = dict(
        model=dict(type='Recognizer2D', cls_head=dict(type='VAPHead', num_classes='two')),
        train_dataloader=dict(batch_size=4.0, num_workers=-1),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=0),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr='1e-3x')),
    )
    with pytest.raises(ConfigError) as error:
        check_settings(cfg)
    for fault in (
        "model.cls_head.num_classes: 'two' is a text, not a number",
        'train_dataloader.batch_size: 4.0 is not a whole number',
        'train_dataloader.num_workers: -1 is too small; the least is 0',
        'train_cfg.val_interval: 0 is too small; the least is 1',
        "optim_wrapper.optimizer.lr: '1e-3x' is a text, not a number",
    ):
        assert fault in str(error.value)


def test_a_variable_for_own_code(cfg):
    cfg.own = dict(threshold=3)
    check_options(cfg, ['own.threshold'])


def test_what_has_no_near_name_is_for_the_part_to_refuse(cfg):
    cfg.merge_from_dict(parsed('model.backbone.extra=1', 'model.backbone.type=other.library'))
    check_settings(cfg)


def test_untouched_stock_configs(tmp_path):
    check_settings(tiny_config(tmp_path, tmp_path, ['0.mp4']))


def test_defaults_are_those_of_the_signature():
    assert argument(dict(type='PANSampleFrames'), 'num_clips') == 8
    assert argument(dict(type='PANSampleFrames'), 'clip_len') is None
    assert argument(dict(type='nobody knows'), 'num_clips') is None


def test_a_config_that_is_not_there(tmp_path):
    assert require_config(CONFIG) == CONFIG
    with pytest.raises(FileNotFoundError, match=f'no such config file; the .*: {CONFIG.stem}'):
        require_config(tmp_path / CONFIG.name.replace('lite', 'light'))
