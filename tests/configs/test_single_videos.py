"""What MMAction2's and our own tools make of a single video, with each config.

They get a video ready by the config's ``test_pipeline`` (``inference_recognizer``), by that of its
test dataset (``ActionRecogInferencer``), or by what opens videos of the two (``PANInferencer``).
"""

import pytest
import torch
from mmaction.apis import inference_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmengine.config import Config

from builders import ROOT, shrink, shrink_network
from pan_mm.config.pipelines import dataset_of, kind_of
from pan_mm.inference.inferencer import PANInferencer

CONFIGS = sorted(ROOT.glob('configs/recognition/*/*.py'))
KINDS = (  # frames of one clip, one frame a segment, several views, a 3D network
    'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb',
    'pan-rgb_imagenet-pretrained-r50_8xb8-1x1x8-50e_sthv1-rgb',
    'tsm_r18_1xb16-1x1x8-4view-30e-64px_utd-mhad-depth',
    'slowonly_r18_1xb16-8x1-30e_utd-mhad-depth',
)


def changes(pipeline):
    """What it does to a video, however that is opened."""
    kept = [t for t in pipeline if kind_of(t) not in ('open', 'decode')]
    return [{k: v for k, v in t.items() if k != '_scope_'} for t in kept]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
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
    shrink_network(cfg)
    cfg.model.cls_head.num_classes = 5
    cfg.test_dataloader.dataset.pop('metainfo', None)  # the names of all classes
    return cfg


@pytest.mark.parametrize('name', KINDS)
def test_all_tools_give_the_same_scores(name, videos):
    (path,) = (path for path in CONFIGS if path.stem == name)
    pytest.importorskip('decord')  # which ActionRecogInferencer puts in the place of VideoInit
    expected, *others = scores(small(path), videos)
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
    found = [inference_recognizer(model, video).pred_score]
    (sample,) = theirs(video, return_datasamples=True)['predictions']
    found.append(sample.pred_score)
    if 'prob' not in str(cfg.model):
        found = [score.softmax(0) for score in found]
    ours = PANInferencer(cfg, device='cpu')
    ours.model.load_state_dict(model.state_dict())
    top = sorted(ours([video])[0]['top'], key=lambda each: each['label'])
    return [*found, torch.tensor([each['score'] for each in top])]
