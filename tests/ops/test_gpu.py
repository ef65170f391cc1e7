"""What a call of the Triton kernels costs, in the interpreter."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from pan_mm.ops import persistence_of_appearance


class Count(TorchDispatchMode):
    """Names of the operators that PyTorch runs, those of the interpreter left out."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **kwargs or {})


class Launches(dict):
    """Kernels that run unseen by :class:`Count`; ``names`` of those that ran."""

    def __init__(self, kernels):
        super().__init__(kernels)
        self.names = []

    def __getitem__(self, name):
        kernel = super().__getitem__(name)

        class Seen:
            def __getitem__(_, grid):
                def launch(*args, **options):
                    self.names.append(name)
                    with _disable_current_modes():
                        kernel[grid](*args, **options)

                return launch

        seen = Seen()
        seen.arg_names = kernel.arg_names
        return seen


@pytest.mark.parametrize(
    ('raw', 'precision'), [(False, torch.float32), (False, torch.bfloat16), (True, torch.float16)]
)
def test_a_forward_call_launches_two_kernels_and_no_operator(monkeypatch, raw, precision):
    """It makes room for the maps and the filters, and copies nothing from the host."""
    gpu = pytest.importorskip('pan_mm.ops.gpu')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    frames = torch.randint(0, 256, (1, 2, 3, 8, 16), dtype=torch.uint8, device=device)
    frames = frames if raw else frames.to(precision) / 64
    weight = torch.randn(8, 3, 7, 7, device=device)
    std = (58.0, 57.0, 56.0) if raw else None
    launches = Launches(gpu.KERNELS)
    monkeypatch.setattr(gpu, 'KERNELS', launches)
    with Count() as count:
        maps = gpu.forward(frames, weight, 1e-6, precision, torch.float32, std)
    assert set(count.names) == {'aten.new_empty.default'}
    assert len(count.names) <= (3 if raw or precision == torch.float16 else 2), count.names
    assert launches.names == ['toeplitz', 'features']
    if raw:
        expected = persistence_of_appearance(frames, weight, std=std, backend='reference')
    else:
        expected = persistence_of_appearance(frames.float(), weight, backend='reference')
    bound = 1e-5 if precision == torch.float32 else 3e-2
    assert (maps - expected).abs().max() <= bound * expected.max()
