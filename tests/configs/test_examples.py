"""The example configs train and test, on tiny frames and a few rendered videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from builders import shrink
from pan_mm.apis import PANInferencer
from pan_mm.config.pipelines import video_info

EXAMPLES = Path(__file__).parents[2] / 'configs' / 'recognition' / 'examples'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two moving discs as videos and as raw frames, with their annotation lists."""
    folder = tmp_path_factory.mktemp('examples')
    for label in (0, 1):
        frames = folder / f'{label}'
        frames.mkdir()
        writer = cv2.VideoWriter(
            str(folder / f'{label}.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 12, (96, 80)
        )
        for t in range(40):
            image = np.full((80, 96, 3), 90, np.uint8)
            cv2.circle(image, (28 + (t if label else 40 - t), 40), 8, (255, 255, 255), -1)
            writer.write(image)
            cv2.imwrite(str(frames / f'{t + 1:05}.jpg'), image)
        writer.release()
    (folder / 'videos.txt').write_text('0.mp4 0\n1.mp4 1\n')
    (folder / 'frames.txt').write_text('0 40 0\n1 40 1\n')
    return folder


def small(name, data, work_dir):
    cfg = Config.fromfile(EXAMPLES / f'{name}.py')
    backbone = cfg.model.backbone
    inner = backbone.get('backbone', backbone)
    inner.pretrained = None
    if inner.type == 'ResNetTSM':  # TANet has no smaller size
        inner.depth = 18
        cfg.model.cls_head.in_channels = 512
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        raw = loader.dataset.type == 'RawframeDataset'
        loader.dataset.ann_file = str(data / ('frames.txt' if raw else 'videos.txt'))
        loader.dataset.data_prefix = {'img' if raw else 'video': str(data)}
        shrink(loader.dataset.pipeline)
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(work_dir)
    cfg.custom_hooks = []
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('name', ['tsm-to-pan-lite_r50_sthv2', 'pa-tanet_r50_sthv1'])
def test_trains_and_tests(name, data, tmp_path):
    runner = Runner.from_cfg(small(name, data, tmp_path))
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    after = runner.model.state_dict()
    changed = {key for key in before if not before[key].equal(after[key])}
    assert 'backbone.persistence.conv.weight' in changed
    assert any(key.startswith('cls_head.aggregation') for key in changed) == ('lite' in name)
    assert set(runner.test()) == {'acc/top1', 'acc/top5', 'acc/mean1'}


def own_videos(name, data, work_dir, lines, **changes):
    """The example ``name`` on a list of the rendered videos, for one epoch from scratch."""
    cfg = Config.fromfile(EXAMPLES / f'{name}_efficientnet-lite0_custom.py')
    (work_dir / 'list.txt').write_text(lines)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(data), ann_file=str(work_dir / 'list.txt'))
    cfg.merge_from_dict({'model.backbone.backbone.pretrained': None, **changes})
    cfg.update(size=32, epochs=1, work_dir=str(work_dir))
    return cfg


@pytest.mark.slow
def test_multi_label_example(data, tmp_path):
    lines = '0.mp4 0 3\n1.mp4 1\n0.mp4 3 0\n'
    cfg = own_videos('pan-lite-multi-label', data, tmp_path, lines)
    runner = RUNNERS.build(cfg)
    head = runner.model.cls_head.fc_cls
    before = head.weight.detach().clone()
    runner.train()
    assert not head.weight.equal(before)
    ((name, value),) = runner.test().items()
    assert name == 'acc/mean_average_precision' and 0 < value <= 1
    assert list(tmp_path.glob('best_acc_mean_average_precision_epoch_1.pth'))
    (config,) = tmp_path.glob('*.py')
    recognize = PANInferencer(config, tmp_path / 'epoch_1.pth', device='cpu')
    (found,) = recognize(data / '0.mp4')
    logits = recognize.model.test_step(
        pseudo_collate([recognize.pipeline(video_info(data / '0.mp4'))])
    )
    own = logits[0].pred_score.sigmoid().sort(descending=True).values.tolist()
    assert [top['score'] for top in found['top']] == pytest.approx(own)
