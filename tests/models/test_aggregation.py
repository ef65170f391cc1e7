import pytest
import torch
from mmaction.registry import MODELS
from torch.autograd import gradcheck

from pan_mm.models import VariousTimescaleAggregation

SIZES = (36, (12, 3)), (36, (3, 12))  # of the two layers, for T = 4


def test_pools_features_that_lie_a_timescale_apart():
    x = torch.tensor([0.0, 5, 2, 7, 4, 1, 6, 3]).view(1, 8, 1)
    pooled = VariousTimescaleAggregation(8).pool(x).flatten().tolist()
    assert pooled == [7] + [6, 7] + [4, 5, 6, 7]


def test_weights_are_the_excitation_of_the_channel_means():
    vap = VariousTimescaleAggregation(4).double()
    first, second = (torch.arange(float(n)).view(shape).double() / 10 for n, shape in SIZES)
    vap.excitation[0].weight.data, vap.excitation[2].weight.data = first - 1, second
    x = torch.tensor([[[1.0, 8], [3, 2], [0, 4], [7, 5]]]).double()
    pooled = torch.tensor([[7.0, 8], [1, 8], [7, 5]]).double()  # of all, of 1 and 3, of 2 and 4
    hidden = (first - 1) @ torch.tensor([7.5, 4.5, 6.0]).double()
    weights = torch.exp(second @ hidden.clamp(min=0))
    expected = (weights / weights.sum()) @ pooled
    assert (hidden < 0).any() and (hidden > 0).any()
    torch.testing.assert_close(vap(x)[0], expected)


def test_one_vector_has_weight_one():
    x = torch.tensor([[[1.0, 8.0], [3.0, 2.0]]])
    torch.testing.assert_close(VariousTimescaleAggregation(2)(x), torch.tensor([[3.0, 8.0]]))


def test_parameters_are_few_and_start_small():
    vap = VariousTimescaleAggregation(8)
    assert [tuple(p.shape) for p in vap.parameters()] == [(28, 7), (7, 28)]
    for parameter in vap.parameters():
        assert parameter.std().item() == pytest.approx(0.001, rel=0.3)
        assert parameter.mean().abs() < 0.0004


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


@pytest.mark.parametrize('num_segments', [1, 5, 6])
def test_other_numbers_of_segments_are_refused(num_segments):
    with pytest.raises(ValueError, match=f'power of two .* got {num_segments}'):
        VariousTimescaleAggregation(num_segments)


def test_configs_find_it():
    assert MODELS.get('VariousTimescaleAggregation') is VariousTimescaleAggregation
