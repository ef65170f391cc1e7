"""What PAN is held against on UTD-MHAD builds, learns, and sees what PAN sees."""

import re
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from benchmarks import compared
from benchmarks.evidence import fused_streams
from benchmarks.runs import find_config
from pan_mm.config.pipelines import VideoPipeline

ROOT = Path(__file__).resolve().parents[2]
PLACES = 'configs/recognition/*', 'projects/*/configs'
CONFIGS = sorted(path for place in PLACES for path in ROOT.glob(f'{place}/*_utd-mhad-depth.py'))
TRAINED = [path for path in CONFIGS if not re.match('pan-(full|en)', path.name)]


def by_name(paths):
    return [pytest.param(path, id=path.stem) for path in paths]


def test_all_stand_on_the_results_page():
    listed = {
        *compared.MODELS.values(),
        *compared.MODELS_64.values(),
        *compared.CANDIDATES_64.values(),
        *compared.MODELS_IMAGENET.values(),
        compared.ATTENTION[0],
    }
    assert {path.stem for path in CONFIGS} == listed


@pytest.mark.parametrize('path', by_name(TRAINED))
def test_equal_terms(path):
    cfg = Config.fromfile(path)
    base = Config.fromfile(find_config(compared.MODELS['PAN Lite']))
    if 'imagenet-pretrained' in path.stem:
        jhmdb = Config.fromfile(find_config(compared.MODELS_JHMDB['TSM']))
        for part in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
            base[part] = jhmdb[part]
    if re.search('224px|64px', path.stem):
        base.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'):
        assert cfg[part] == base[part], part
    assert cfg.train_dataloader.batch_size == 16
    kinds = [transform.type for transform in cfg.train_dataloader.dataset.pipeline]
    if 'randaugment' in path.stem:
        kinds.remove('ClipRandAugment')
    wanted = [transform.type for transform in base.train_dataloader.dataset.pipeline]
    assert kinds[2:] == wanted[2:]  # but for the sampler
    pipeline = VideoPipeline(cfg)
    views, (frames, _, height, width) = pipeline.num_views, pipeline.view_shape()
    sees_32 = cfg.model.backbone.get('clip_len', 1) == 4 or re.search('x32-|4view', path.stem)
    assert (views, frames) == (1, 32 if sees_32 else 8)
    (pixels,) = re.findall(r'-(\d+)px_', path.stem) or ['112']
    assert height == width == int(pixels)


@pytest.mark.parametrize(
    'name', [name for name, path in compared.MODELS_JHMDB.items() if not fused_streams(path)]
)
def test_equal_terms_on_jhmdb(name):
    cfg, base = (
        Config.fromfile(find_config(compared.MODELS_JHMDB[key])) for key in (name, 'PAN Lite')
    )
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks', 'custom_hooks'):
        assert cfg[part] == base[part], part
    network = dict(base.model.backbone.backbone)
    assert cfg.model.backbone.backbone == (
        dict(network, is_shift=False) if name == 'TSN' else network
    )
    pipeline = VideoPipeline(cfg)
    assert pipeline.num_views == 1
    assert pipeline.view_shape()[0] == 8 * cfg.model.backbone.clip_len


@pytest.mark.parametrize('path', by_name(p for p in TRAINED if not p.stem.startswith('pan-')))
def test_forward_and_backward(path):
    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    frames = cfg.model.backbone.get('num_segments', 8)
    shape = (1, 3, frames, 32, 32) if 'slowonly' in path.stem else (frames, 3, 32, 32)
    data = dict(
        inputs=[torch.randint(256, shape, dtype=torch.uint8) for _ in range(2)],
        data_samples=[ActionDataSample().set_gt_label(label) for label in (0, 26)],
    )
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    losses['loss_cls'].backward()
    assert 2 < losses['loss_cls'].item() < 5  # ln 27 is 3.3
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    stem = next(p for p in model.backbone.parameters() if p.ndim > 3)
    assert stem.grad.abs().sum() > 0
