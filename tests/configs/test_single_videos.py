"""What MMAction2's and our own tools make of a single video, with each config.

They get a video ready by the config's ``test_pipeline`` (``inference_recognizer``), by that of its
test dataset (``ActionRecogInferencer``), or by what opens videos of the two (``PANInferencer``).
"""

import json
from pathlib import Path

import cv2
import pytest
import torch
from mmaction.apis import inference_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmengine.config import Config

from builders import shrink
from pan_mm.config.pipelines import dataset_of, kind_of
from pan_mm.inference.inferencer import PANInferencer

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob('configs/recognition/*/*.py'))
FAST = (
    'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
    'pan-rgb_imagenet-pretrained-r50_8xb8-1x1x8-50e_sthv1-rgb',
    'tsm_r18_1xb16-1x1x8-4view-30e-64px_utd-mhad-depth',
)


def by_name(path, *marks):
    return pytest.param(path, id=path.stem, marks=marks)


def changes(pipeline):
    """What it does to a video, however that is opened."""
    kept = [t for t in pipeline if kind_of(t) not in ('open', 'decode')]
    return [{k: v for k, v in t.items() if k != '_scope_'} for t in kept]


@pytest.mark.parametrize('path', map(by_name, CONFIGS))
def test_a_single_video_is_prepared_as_in_the_test(path):
    cfg = Config.fromfile(path)
    assert changes(cfg.test_pipeline) == changes(dataset_of(cfg).pipeline)
    is_of_frames = path.parent.name == 'examples' and dataset_of(cfg).type == 'RawframeDataset'
    assert (kind_of(cfg.test_pipeline[0]) == 'open') is not is_of_frames


def small(path):
    """The config on tiny frames, with the smallest network of its kind and five classes."""
    cfg = Config.fromfile(path)
    for pipeline in (cfg.test_pipeline, cfg.test_dataloader.dataset.pipeline):
        shrink(pipeline)
    inner = cfg.model.backbone.get('backbone', cfg.model.backbone)
    if inner.get('pretrained'):
        inner.pretrained = None
    if inner.type in ('ResNet', 'ResNetTSM', 'ResNet3dSlowOnly'):
        inner.depth, cfg.model.cls_head.in_channels = 18, 512
    cfg.model.cls_head.num_classes = 5
    cfg.test_dataloader.dataset.pop('metainfo', None)  # the names of all classes
    return cfg


compared: dict = {}  # configs that differ in what plays no part here are tried once


@pytest.mark.parametrize(
    'path', [by_name(p, *[pytest.mark.slow] * (p.stem not in FAST)) for p in CONFIGS]
)
def test_all_tools_give_the_same_scores(path, videos):
    cfg = small(path)
    if str(cfg.model.backbone.get('backbone', {}).get('type')).startswith('timm.'):
        pytest.importorskip('timm')
    pytest.importorskip('decord')  # which ActionRecogInferencer puts in the place of VideoInit
    pipelines = cfg.test_pipeline, cfg.test_dataloader.dataset.pipeline
    key = json.dumps([cfg.model, *pipelines], default=str)
    if key not in compared:
        compared[key] = scores(cfg, videos)
    expected, *others = compared[key]
    assert expected.std() > 1e-3  # classes are told apart
    for probabilities in others:
        # Decoders round to another whole number here and there.
        torch.testing.assert_close(probabilities, expected, atol=0.01, rtol=0)


def scores(cfg, videos):
    """Probabilities (5,) by each tool that takes the config, of one model."""
    video = str(videos / '3.mp4')
    torch.manual_seed(0)
    theirs = ActionRecogInferencer(cfg.copy(), device='cpu')
    model = theirs.model
    model.cfg = cfg  # as init_recognizer has it
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and ('cls_head' in name or 'persistence' in name):
            torch.nn.init.normal_(weight, std=0.3)
        elif weight.ndim == 4 and weight.shape[1] == 1:  # MMCV begins depthwise ones at almost 0
            torch.nn.init.kaiming_normal_(weight)
    opens = kind_of(cfg.test_pipeline[0]) == 'open'
    sample = inference_recognizer(model, video if opens else as_frames(video))
    found = [sample.pred_score]
    (sample,) = theirs(video, return_datasamples=True)['predictions']
    found.append(sample.pred_score)
    if cfg.model.cls_head.get('multi_class'):
        found = [score.sigmoid() for score in found]
    elif 'prob' not in str(cfg.model):
        found = [score.softmax(0) for score in found]
    if opens:
        ours = PANInferencer(cfg, device='cpu')
        ours.model.load_state_dict(model.state_dict())
        top = sorted(ours([video])[0]['top'], key=lambda each: each['label'])
        found.append(torch.tensor([each['score'] for each in top]))
    return found


def as_frames(video):
    """The video as a folder of lossless pictures beside it, as a pipeline of frames takes it."""
    folder = Path(video).with_suffix('')
    folder.mkdir(exist_ok=True)
    capture, count = cv2.VideoCapture(video), 0
    while (frame := capture.read()[1]) is not None:
        count += 1
        cv2.imwrite(str(folder / f'{count:05}.png'), frame)
    return dict(
        frame_dir=str(folder),
        total_frames=count,
        filename_tmpl='{:05}.png',
        start_index=1,
        modality='RGB',
        label=-1,
    )
