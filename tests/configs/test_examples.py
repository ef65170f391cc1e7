"""The example configs build, and learn from a batch, on tiny frames."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from builders import shrink_network

EXAMPLES = sorted((Path(__file__).parents[2] / 'configs/recognition/examples').glob('*.py'))


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_a_step(path):
    cfg = Config.fromfile(path)
    shrink_network(cfg)
    (sampler,) = (t for t in cfg.train_dataloader.dataset.pipeline if 'Sample' in t.type)
    num_frames = 8 * sampler.get('clip_len', 1)
    model = MODELS.build(cfg.model).train()
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 1)]
    if cfg.model.cls_head.get('multi_class'):
        samples = [
            ActionDataSample().set_gt_label(torch.eye(5)[i] + torch.eye(5)[3]) for i in (0, 1)
        ]
    frames = torch.randint(0, 256, (2, num_frames, 3, 32, 32), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[*frames], data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    losses['loss_cls'].backward()
    assert losses['loss_cls'].isfinite()
    learned = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {'cls_head.fc_cls.weight'} <= learned
    has_pa = 'tsm-vap' not in path.stem
    assert ('backbone.persistence.conv.weight' in learned) == has_pa
    has_vap = any(name.startswith('cls_head.aggregation') for name in learned)
    assert has_vap == ('tanet' not in path.stem)
