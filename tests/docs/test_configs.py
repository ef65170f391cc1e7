"""The configs that the documents show are trained, validated and tested, not only read."""

import re
from pathlib import Path

import pytest
from mmaction.registry import RUNNERS
from mmengine.config import Config

from builders import ROOT, code_blocks, shrink, shrink_network

DOCUMENTS = ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'tools/**/*.md')
# A whole model goes over what a stock config has besides: its runtime, schedule and metric.
STOCK = """
_base_ = [
    '{root}/configs/_base_/datasets/motionshapes.py',
    'mmaction::_base_/schedules/sgd_50e.py',
    'mmaction::_base_/default_runtime.py',
]
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
"""
# What changes a config goes over one of ours.
OURS = """
_base_ = '{root}/configs/recognition/pan/{name}.py'
"""
NAME = 'pan-lite_imagenet-pretrained-r50_8xb8-4x1x8-80e_sthv2-rgb'  # of the README beside it


def configs():
    """(place, text) of the Python blocks that set parts of a config and nothing else."""
    for place, _, code in code_blocks(['python'], *DOCUMENTS):
        is_config = re.search(r'^(_base_ = |model = dict\()', code, re.MULTILINE)
        if is_config and 'import ' not in code:
            yield pytest.param(code, id=place)


def test_compose_is_among_them():
    assert sum(config.id.startswith('README.md:') for config in configs()) == 1


@pytest.mark.slow
@pytest.mark.parametrize('text', configs())
def test_trains_validates_and_tests(text, tmp_path, monkeypatch):
    if 'pan_mm::' in text and not (ROOT / 'pan_mm' / '.mim').exists():
        pytest.skip('pan_mm is not installed, so its configs have no package to be found in')
    base = '' if '_base_' in text else STOCK if "\n    type='Recognizer2D'" in text else OURS
    monkeypatch.chdir(tmp_path)
    Path('config.py').write_text(base.format(root=ROOT, name=NAME) + text)
    cfg = Config.fromfile('config.py')
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        shapes = dict(type='MotionShapesDataset', split=split, num_train=2, num_val=2, num_test=2)
        if loader.dataset.type != 'MotionShapesDataset':
            shrink(loader.dataset.pipeline)
        loader.dataset = dict(
            shapes,
            data_root='shapes',
            pipeline=loader.dataset.pipeline,
            test_mode=split != 'train',
        )
    shrink_network(cfg)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    cfg.work_dir = 'work'
    runner = RUNNERS.build(cfg)
    before = runner.model.cls_head.fc_cls.weight.clone()
    runner.train()
    assert not runner.model.cls_head.fc_cls.weight.equal(before)
    assert 'val/acc/top1' in runner.message_hub.log_scalars
    assert 'acc/top1' in runner.test()
