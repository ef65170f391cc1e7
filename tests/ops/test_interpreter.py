"""bfloat16 in Triton's interpreter is what float32, rounded, would be."""

import numpy as np
import pytest
import torch

triton = pytest.importorskip('triton')
tl = triton.language


@triton.jit
def _kernel(sums, products, left, right):
    index = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    a, b = tl.load(left + index), tl.load(right + index)
    tl.store(sums + index, a - b)
    tl.store(products + index, tl.dot(a, b))


def test_arithmetic():
    left, right = (torch.randn(16, 16).bfloat16() for _ in range(2))
    left[0, 0] = float('inf')
    left[1] = right[1]  # zeros
    sums, products = torch.empty_like(left), torch.empty(16, 16)
    _kernel[(1,)](sums, products, left, right)
    assert torch.equal(sums, left - right)
    np.testing.assert_allclose(products, left.float() @ right.float(), rtol=1e-5, atol=1e-5)
