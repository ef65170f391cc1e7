"""PA's kernels as they are specialized for a GPU, which needs no GPU."""

from builders import run_without_interpreter

SPECIALISE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import create_function_from_signature
from pan_mm.ops import gpu

class Recorder:
    def __init__(self, kernel):
        self.arg_names, self.keys = kernel.arg_names, []
        backend = make_backend(GPUTarget('cuda', 90, 32))
        self.bind = create_function_from_signature(kernel.signature, kernel.params, backend)

    def __getitem__(self, grid):
        def launch(*args, **kwargs):
            _, key, options = self.bind(*args, debug=False, **kwargs)
            self.keys.append(str((key, options)))
        return launch

gpu.KERNELS = {name: Recorder(kernel) for name, kernel in gpu.KERNELS.items()}
weight = torch.ones(8, 3, 7, 7)
for batch in (16, 13, 1):
    frames = torch.zeros(batch, 4, 3, 48, 64)
    maps = gpu.forward(frames, weight, 1e-6, torch.float32, torch.float32)
    gpu.backward(maps, frames, weight, 1e-6, torch.float32, True, True)
for name, recorder in gpu.KERNELS.items():
    steps = 2 if name == 'features' else 1  # forward and backward are two specializations
    assert len(recorder.keys) == 3 * steps, (name, len(recorder.keys))
    assert len(set(recorder.keys)) == steps, (name, set(recorder.keys))
"""


def test_a_smaller_last_batch_compiles_nothing():
    run_without_interpreter(SPECIALISE)
