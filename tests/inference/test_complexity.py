import pytest
import torch
from mmaction.registry import MODELS

from pan_mm.convert import model_config
from pan_mm.inference.complexity import get_complexity


def count(streams, depth=50, size=224, views=1):
    """(ours, the paper's) GMACs of these streams fused."""
    cfg = model_config(streams[0], depth, 8, 174)
    cfg.pop('type')
    cfg = dict(type='PANEnsemble', streams={stream: {} for stream in streams}, **cfg)
    with torch.device('meta'):
        model = MODELS.build(cfg)
    total = get_complexity(model, (32, 3, size, size))
    assert total.params == sum(parameter.numel() for parameter in model.parameters())
    return views * total.macs / 1e9, views * total.paper_macs / 1e9


@pytest.mark.parametrize(
    ('paper', 'streams', 'options'),
    [
        (35.7, ['lite'], {}),
        (67.7, ['rgb', 'pa'], {}),
        (2 * (46.6 + 88.4), ['rgb', 'pa', 'lite'], dict(size=256, views=2)),
        (2 * (85.6 + 166.1), ['rgb', 'pa', 'lite'], dict(depth=101, size=256, views=2)),
    ],
    ids=['Lite', 'Full', 'En', 'En on ResNet-101'],
)
def test_figures_of_the_paper(paper, streams, options):
    ours, as_the_paper = count(streams, **options)
    assert as_the_paper == pytest.approx(paper, rel=0.015)
    # PA of 32 frames: 24 differences instead of 32 frames, each 8·3·7·7 MACs per pixel.
    pixels = options.get('size', 224) ** 2 * options.get('views', 1)
    saved = 8 * 8 * 3 * 49 * pixels * sum(stream != 'rgb' for stream in streams) / 1e9
    assert as_the_paper - ours == pytest.approx(saved, rel=1e-6)


def test_the_model_is_left_alone():
    model = MODELS.build(model_config('rgb', 18, 4, 5))
    get_complexity(model, (16, 3, 32, 32))
    assert model.training
    assert all(parameter.device.type == 'cpu' for parameter in model.parameters())
