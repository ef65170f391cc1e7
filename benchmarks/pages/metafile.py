#!/usr/bin/env python3
"""Write the metafile of PAN, which mim and model_zoo.md read, from the configs and paper.yml."""

import functools
import json
import re
from pathlib import Path
from typing import Optional

import torch
import yaml
from mmaction.registry import MODELS
from mmengine import load
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from benchmarks.compared import CONFIGS, ROOT
from benchmarks.markdown import is_check, write_page
from pan_mm.config.find import without
from pan_mm.config.pipelines import VideoPipeline
from pan_mm.inference.complexity import get_complexity
from pan_mm.models.pan_ensemble import stream_configs

FOLDER = CONFIGS / 'pan'
PATH = FOLDER / 'metafile.yml'
COMMAND = 'python -m benchmarks.pages.metafile'
HEADER = f"""# Written by `{COMMAND}` from the configs here and paper.yml; edit those.
# FLOPs are the multiply-accumulates of one view, as executed. `(paper)` marks accuracies that the
# paper reports for the authors' models. Weights of a trained model are in pan_mm/pretrained.
"""
COLLECTION = dict(
    Name='PAN',
    README='configs/recognition/pan/README.md',
    Paper=dict(
        URL='https://arxiv.org/abs/2008.03462',
        Title='PAN: Towards Fast Action Recognition via Learning Persistence of Appearance',
    ),
    # For models without `Weights`: `mim download` then takes only the config.
    Metadata=dict(Weight=''),
)
DATASETS = {  # by their names in configs, as the zoo lists them; '' are the user's own videos
    'sthv1': 'SthV1',
    'sthv2': 'SthV2',
    'jester': 'Jester',
    'kinetics400': 'Kinetics-400',
    'ucf101': 'UCF101',
    'hmdb51': 'HMDB51',
    'custom': '',
    'motionshapes': 'MotionShapes',
    'utd-mhad': 'UTD-MHAD',
    'jhmdb': 'JHMDB',
    'egogest11': 'EgoGestAR',
}
PA = 'PersistenceOfAppearance'
STREAMS = ('rgb', 'pa', 'lite', 'rgb + pa', 'rgb + pa + lite')


NETWORKS = {'pan_mm.EfficientNetLite0': 'EfficientNet-Lite0'}


def architecture(network: ConfigDict) -> str:
    """The 2D network of a ``PANBackbone``."""
    name = network.type.replace('TSM', '')
    return f'{NETWORKS.get(name, name)}{network.get("depth", "")}'


def cue_of(cue: dict) -> str:
    """Name the cue that replaces PA, with its options except the start of the weights."""
    inner = [cue_of(part) for part in cue.get('cues', [])]
    skipped = ('type', 'cues', 'init_std')
    inner += [f'{key}={value}' for key, value in cue.items() if key not in skipped]
    return f'{cue["type"]}({", ".join(inner)})' if inner else cue['type']


def cost(model: dict, shape: tuple) -> dict:
    """Cost of a view, and parameters, both of all streams."""
    streams = [cfg for cfg, *_ in stream_configs(model).values()] if 'streams' in model else [model]
    counts = []
    for stream in streams:
        parts = {key: stream[key] for key in ('type', 'backbone', 'cls_head')}
        network = json.dumps(without(parts, ['pretrained']), sort_keys=True)
        counts.append(_cost(network, shape))
    macs, params = (sum(getattr(own, key) for own in counts) for key in ('macs', 'params'))
    return dict(FLOPs=f'{macs / 1e9:.2f}G', Parameters=f'{params / 1e6:.2f}M')


@functools.cache  # many configs differ in their data, or in how they combine streams
def _cost(model, shape):
    init_default_scope('mmaction')
    with torch.device('meta'):
        return get_complexity(MODELS.build(json.loads(model)), shape)


def entry(path: Path, paper: dict, known: Optional[dict] = None) -> dict:
    """Describe a config as in the metafile; ``known`` is its cost, which is counted else."""
    cfg = Config.fromfile(path)
    dataset, modality = re.fullmatch(r'.+_(.+)-(rgb|depth)', path.stem).groups()
    backbone, trained = cfg.model.backbone, cfg.get('train_dataloader')
    frames = f'{backbone.clip_len} frame{"s" if backbone.clip_len > 1 else ""}'
    pipeline = VideoPipeline(cfg)
    height, width = pipeline.frame_size
    cue = cue_of(backbone.get('motion_cue') or dict(type=PA))
    start = 'MotionShapes' if 'motionshapes' in (cfg.get('load_from') or '') else None
    data = {
        'Architecture': architecture(backbone.backbone),
        'Stream': ' + '.join(cfg.model.get('streams') or [backbone.stream]),
        'Motion Cue': cue if cue != PA else None,
        'Input': f'{backbone.num_segments} segments of {frames}',
        'Resolution': f'{height}x{width}',
        'Views': pipeline.num_views,
        'Batch Size': cfg.auto_scale_lr.base_batch_size if trained else None,
        'Epochs': cfg.train_cfg.max_epochs if trained else None,
        'Pretrained': start or (backbone.backbone.get('pretrained') and 'ImageNet'),
        'Training Data': DATASETS[dataset],
        **(known or cost(cfg.model, pipeline.view_shape())),
    }
    model = {
        'Name': path.stem,
        'Config': path.relative_to(ROOT).as_posix(),
        'In Collection': 'PAN',
        'Metadata': {key: value for key, value in data.items() if value},
        'Modality': dict(rgb='RGB', depth='Depth')[modality],
    }
    if path.stem in paper:
        metrics = {f'Top {k} Accuracy (paper)': v for k, v in zip((1, 5), paper[path.stem])}
        result = dict(Dataset=DATASETS[dataset], Task='Action Recognition', Metrics=metrics)
        model['Results'] = [result]
    return model


def place(model: dict) -> tuple:
    """Sort key of a model in the metafile and the zoo: its dataset, size and streams."""
    data = model['Metadata']
    size = [int(number) for number in re.findall(r'ResNet(\d+)', data['Architecture'])]
    dataset = list(DATASETS.values()).index(data.get('Training Data', ''))
    stream = STREAMS.index(data['Stream']) if data['Stream'] in STREAMS else len(STREAMS)
    return dataset, stream, size or [999], model['Name']


def metafile(known: Optional[dict] = None) -> str:
    """Text of the metafile.

    Args:
        known (dict, optional): Entries by name whose costs are taken as they are. Counting those
            of all configs takes minutes.
    """
    paper = load(FOLDER / 'paper.yml')
    costs = {
        name: {key: model['Metadata'][key] for key in ('FLOPs', 'Parameters')}
        for name, model in (known or {}).items()
    }
    paths = sorted(FOLDER.glob('*.py'))
    models = [entry(path, paper, costs.get(path.stem)) for path in paths]
    if unknown := paper.keys() - {path.stem for path in paths}:
        raise ValueError(f'paper.yml has figures of {", ".join(sorted(unknown))}, no configs here')
    content = dict(Collections=[COLLECTION], Models=sorted(models, key=place))
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=200)


def main(argv: Optional[list] = None) -> None:
    check = is_check(__doc__, argv)
    write_page(PATH, metafile(), COMMAND, check)


if __name__ == '__main__':
    main()
