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
    rows = {row.name: row for row in get_complexity(model, (32, 3, size, size))}
    total = rows['']
    parts = [row for name, row in rows.items() if name.count('.') == 1]  # streams.NAME
    assert total.params == sum(row.params for row in parts)
    assert total.macs == sum(row.macs for row in parts)
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


class TestParts:
    def rows(self, stream):
        model = MODELS.build(model_config(stream, 18, 4, 5))
        return {row.name: row for row in get_complexity(model, (16, 3, 32, 32))}

    def test_parts_sum_up(self):
        rows = self.rows('lite')
        assert list(rows) == ['backbone.persistence', 'backbone.backbone', 'cls_head', '']
        parts = [row for name, row in rows.items() if name]
        for column in (1, 2, 3):
            assert rows[''][column] == sum(row[column] for row in parts)

    def test_values(self):
        rows = self.rows('pa')
        pa = rows['backbone.persistence']
        assert pa.params == 8 * 3 * 49
        assert pa.macs == 4 * 3 * pa.params * 32 * 32  # segments, differences, pixels
        assert pa.paper_macs == 4 * 4 * pa.params * 32 * 32
        assert rows['cls_head'].macs == 3 * 12 + 12 * 3 + 512 * 5

    def test_the_model_is_left_alone(self):
        model = MODELS.build(model_config('rgb', 18, 4, 5))
        get_complexity(model, (16, 3, 32, 32))
        assert model.training
        assert all(parameter.device.type == 'cpu' for parameter in model.parameters())
