"""Triton's interpreter stands in where there is no GPU; it is chosen when kernels are defined."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')


@pytest.fixture(params=['cpu', 'triton'])
def backend(request):
    if request.param == 'triton':
        pytest.importorskip('triton')
    return request.param


@pytest.fixture
def device(backend):
    return 'cuda' if backend == 'triton' and torch.cuda.is_available() else 'cpu'
