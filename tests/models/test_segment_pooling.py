import pytest
import torch

from pan_mm.models import SegmentPooling, VAPHead


@pytest.mark.parametrize('mode', ['max', 'mean'])
def test_a_head_that_pools_over_all_segments(mode):
    pooling = dict(type='SegmentPooling', mode=mode)
    head = VAPHead(5, 16, num_segments=6, aggregation=pooling, init_std=1.0).eval()
    x = torch.randn(2 * 6, 16, 3, 2)
    features = x.mean(dim=(2, 3)).view(2, 6, 16)
    pooled = features.max(dim=1).values if mode == 'max' else features.sum(dim=1) / 6
    torch.testing.assert_close(head(x), head.fc_cls(pooled))


def test_the_mean_drops_out_once_where_tsm_drops_out_per_segment():
    head = VAPHead(4, 8, num_segments=4, aggregation=dict(type='SegmentPooling', mode='mean'))
    torch.nn.init.eye_(head.fc_cls.weight)
    outputs = head(torch.ones(50 * 4, 8, 1, 1))
    assert set(outputs.flatten().tolist()) == {0.0, 2.0}


def test_unknown_mode():
    with pytest.raises(ValueError, match="'max' or 'mean', got 'median'"):
        SegmentPooling(8, mode='median')
