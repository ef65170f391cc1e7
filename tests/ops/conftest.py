"""Each test runs on each fast path that this machine can run."""

import pytest
import torch


@pytest.fixture(params=['cpu', 'triton'])
def backend(request):
    if request.param == 'triton':
        pytest.importorskip('triton')
    return request.param


@pytest.fixture
def device(backend):
    return 'cuda' if backend == 'triton' and torch.cuda.is_available() else 'cpu'
