"""Every config of the zoo builds, runs, and is what its metafile entry says."""

import copy
import functools
import re
from pathlib import Path

import pytest
import torch
import yaml
from mmaction.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from builders import ROOT

FOLDER = ROOT / 'configs' / 'recognition' / 'pan'
METAFILE = FOLDER / 'metafile.yml'
CONFIGS = sorted(path.stem for path in FOLDER.glob('*.py'))
CLASSES = {
    'SthV1': 174,
    'SthV2': 174,
    'Jester': 27,
    'Kinetics-400': 400,
    'UCF101': 101,
    'HMDB51': 51,
    'MotionShapes': 12,
    'UTD-MHAD': 27,
    'JHMDB': 21,
    'EgoGestAR': 11,
}


def load(name):
    return copy.deepcopy(read(name))


@functools.cache
def read(name):
    return Config.fromfile(FOLDER / f'{name}.py')


@pytest.fixture(scope='module')
def entries():
    content = yaml.safe_load(METAFILE.read_text(encoding='utf-8'))
    return {model['Name']: model for model in content['Models']}


def build(cfg, device='cpu'):
    if cfg.model.backbone.backbone.get('type', '').startswith('timm.'):
        pytest.importorskip('timm')
    cfg.model.backbone.backbone.pretrained = None
    with torch.device(device):
        return MODELS.build(cfg.model).eval()


def logits(model, frames):
    output = model(frames, mode='tensor')
    return output if hasattr(model, 'streams') else model.cls_head(output)


def test_the_index_names_the_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert 'configs/recognition/pan/metafile.yml' in index['Import']


@pytest.mark.parametrize('name', CONFIGS)
def test_data_fit_the_entry(name, entries):
    cfg, data = load(name), entries[name]['Metadata']
    if 'Training Data' in data:
        assert cfg.model.cls_head.num_classes == CLASSES[data['Training Data']]
    frames = {}
    for split in ('train', 'val', 'test'):
        if not cfg[f'{split}_dataloader']:
            continue
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.type in DATASETS
        for transform in dataset.pipeline:
            TRANSFORMS.build(transform)
            if transform.type == 'PANSampleFrames':
                frames[split] = transform.num_clips, transform.clip_len
    backbone = cfg.model.backbone
    assert set(frames.values()) == {(backbone.num_segments, backbone.clip_len)}
    if cfg.get('label_map'):
        lines = Path(cfg.label_map).read_text().splitlines()
        assert len(set(lines)) == len(lines) == cfg.model.cls_head.num_classes


@pytest.mark.parametrize('name', CONFIGS)
def test_accurate_protocol_takes_what_the_model_takes(name):
    cfg = load(name)
    if 'accurate_pipeline' not in cfg:
        assert re.search('motionshapes|utd|egogest', name)
        return
    samplers = [
        next(t for t in pipeline if t.type == 'PANSampleFrames')
        for pipeline in (cfg.accurate_pipeline, cfg.test_dataloader.dataset.pipeline)
    ]
    assert samplers[0] == dict(samplers[1], twice_sample=True)


@pytest.mark.parametrize('name', CONFIGS)
def test_flips_only_where_left_and_right_do_not_matter(name):
    cfg = load(name)
    if not cfg.train_dataloader:
        return
    flips = [t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Flip']
    if re.search('sthv|jester|motionshapes|utd|egogest', name) and '-flip-' not in name:
        assert not flips
    else:
        assert len(flips) == 1
        assert bool(flips[0].get('flip_label_map')) == ('sthv' in name)


def test_flipped_label_is_the_mirrored_class():
    cfg = load('pan-lite_imagenet-pretrained-r50_8xb8-flip-4x1x8-80e_sthv2-rgb')
    (flip,) = (t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Flip')
    names = Path(cfg.label_map).read_text().splitlines()
    sides = {'left': 'right', 'right': 'left'}

    def mirrored(name):
        return re.sub('left|right', lambda match: sides[match.group()], name)

    pairs = {i: names.index(mirrored(n)) for i, n in enumerate(names) if mirrored(n) in names}
    assert flip.flip_label_map == {i: j for i, j in pairs.items() if i != j}


@pytest.mark.parametrize('stream', ['rgb', 'lite', 'en'])
def test_costs_are_those_of_the_model(stream, entries):
    """Counted here over again, by PyTorch and by hand."""
    (name,) = (n for n in CONFIGS if re.fullmatch(f'pan-{stream}_.*r50_.*x1x8.*sthv1-rgb', n))
    cfg, data = load(name), entries[name]['Metadata']
    model = build(cfg, 'meta')
    num_frames = cfg.model.backbone.num_segments * cfg.model.backbone.clip_len
    height, width = map(int, data['Resolution'].split('x'))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits(model, torch.empty(1, num_frames, 3, height, width, device='meta'))
    assert f'{counter.get_total_flops() / 2e9:.2f}G' == data['FLOPs']
    params = sum(parameter.numel() for parameter in model.parameters())
    assert f'{params / 1e6:.2f}M' == data['Parameters']
