"""The price of a call of the Triton kernels; test_persistence_op.py has what they compute."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Count(TorchDispatchMode):
    """Names of the operators that PyTorch runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **kwargs or {})


class Kernel:
    """Stands in for a kernel: notes its name in ``started`` and computes nothing."""

    def __init__(self, name, arg_names, started):
        self.name, self.arg_names, self.started = name, arg_names, started

    def __getitem__(self, grid):
        return lambda *args, **options: self.started.append(self.name)


@pytest.mark.parametrize(
    ('raw', 'precision'), [(False, torch.float32), (False, torch.bfloat16), (True, torch.float16)]
)
def test_a_forward_call_launches_two_kernels_and_no_operator(monkeypatch, raw, precision):
    """It makes room for the maps and the filters, and copies nothing from the host."""
    gpu = pytest.importorskip('pan_mm.ops.gpu')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    frames = torch.zeros(1, 2, 3, 8, 16, dtype=torch.uint8 if raw else precision, device=device)
    weight, std = torch.randn(8, 3, 7, 7, device=device), (58.0, 57.0, 56.0) if raw else None
    started = []
    for name, kernel in gpu.KERNELS.items():
        monkeypatch.setitem(gpu.KERNELS, name, Kernel(name, kernel.arg_names, started))
    with Count() as count:
        gpu.forward(frames, weight, 1e-6, precision, torch.float32, std)
    assert set(count.names) == {'aten.new_empty.default'}
    assert len(count.names) <= (3 if raw or precision == torch.float16 else 2), count.names
    assert started == ['toeplitz', 'features']
