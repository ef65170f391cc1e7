"""A small PAN and its pipeline."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = [
    dict(type='VideoInit', backend='opencv'),
    dict(type='PANSampleFrames', clip_len=4, num_clips=4, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 40)),
    dict(type='CenterCrop', crop_size=32),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture(scope='session')
def build_pan():
    """Function that builds a PAN of 4 segments with random weights and a varied head."""

    def build(stream='lite', backbone=None, num_segments=4):
        init_default_scope('mmaction')
        cfg = Config.fromfile(ROOT / 'configs/_base_/models/pan_r18.py')
        cfg.model.backbone.update(stream=stream, num_segments=num_segments)
        cfg.model.backbone.backbone.update(backbone or {})
        cfg.model.cls_head.update(num_classes=5, num_segments=num_segments)
        cfg.test_pipeline = PIPELINE
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        for name, parameter in model.named_parameters():
            if 'persistence' in name or 'cls_head' in name:  # start near zero otherwise
                torch.nn.init.normal_(parameter, std=0.1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():  # fit the norms, so that no signal dies out on its way
            model.train().backbone(torch.randn(2 * num_segments * 4, 3, 32, 32))
        model.cfg = cfg
        return model.eval()

    return build
