"""Configs of the projects import what they need, build, and are as small as those of the zoo."""

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmengine.config import Config

from builders import ROOT

CONFIGS = sorted(ROOT.glob('projects/*/configs/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_runs(path):
    cfg = Config.fromfile(path)
    assert f'projects.{path.parents[1].name}' in cfg.custom_imports.imports
    model = MODELS.build(cfg.model).eval()
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(hook)
    frames = torch.randn(
        1, cfg.model.backbone.num_segments * cfg.model.backbone.clip_len, 3, 32, 32
    )
    with torch.no_grad():
        logits, _ = model.extract_feat(frames, stage='head')
    assert logits.shape == (1, cfg.model.cls_head.num_classes) and logits.isfinite().all()
