"""Each test runs on each fast path that this machine can run."""

import pytest
import torch


@pytest.fixture(params=['cpu', 'triton', 'cuda'])
def backend(request):
    if request.param == 'triton':
        pytest.importorskip('triton')
    if request.param == 'cuda':
        if not torch.cuda.is_available():
            pytest.skip('no GPU; tests/ops/test_cuda.py runs the kernels without one')
        pytest.importorskip('cuda.core')
    return request.param


@pytest.fixture
def device(backend):
    return 'cuda' if backend != 'cpu' and torch.cuda.is_available() else 'cpu'
