import pytest
import torch
from torch.autograd import gradcheck

from pan_mm.models import VariousTimescaleAggregation


def test_pools_features_that_lie_a_timescale_apart():
    x = torch.tensor([0.0, 5, 2, 7, 4, 1, 6, 3]).view(1, 8, 1)
    pooled = VariousTimescaleAggregation(8).pool(x).flatten().tolist()
    assert pooled == [7] + [6, 7] + [4, 5, 6, 7]


def test_weights_follow_the_squeezed_means():
    vap = VariousTimescaleAggregation(2)
    x = torch.tensor([[[1.0, 8.0], [3.0, 2.0]]])
    torch.testing.assert_close(vap(x), torch.tensor([[3.0, 8.0]]))  # one vector, weight one


@pytest.mark.parametrize('num_segments', [2, 4, 8, 16])
def test_output_is_a_convex_combination(num_segments):
    vap = VariousTimescaleAggregation(num_segments)
    for parameter in vap.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, num_segments, 5)
    weights = vap.weigh(vap.pool(x))
    assert weights.shape == (3, num_segments - 1)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert (vap(x) <= x.amax(1) + 1e-6).all()


def test_gradcheck():
    vap = VariousTimescaleAggregation(4).double()
    for parameter in vap.parameters():
        torch.nn.init.normal_(parameter)
    assert gradcheck(vap, torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True))


@pytest.mark.parametrize('num_segments', [1, 6])
def test_other_numbers_of_segments_are_refused(num_segments):
    with pytest.raises(ValueError, match=f'power of two .* got {num_segments}'):
        VariousTimescaleAggregation(num_segments)
