"""The Triton kernels compile for real GPUs, none of which is needed for that."""

import os
import subprocess
import sys

import pytest

COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pan_mm.ops import gpu

POINTERS = dict(maps='fp32', grad_maps='fp32', partial='fp32', grad_differences='fp32')
for capability, shared_memory in ((80, 163 * 1024), (90, 227 * 1024)):
    for dtype, name in ((torch.float32, 'fp32'), (torch.bfloat16, 'bf16')):
        launch = gpu.LAUNCH[dtype]
        constants = gpu._constants(torch.empty(8, 3, 7, 7, dtype=dtype)) | dict(
            PRECISION='ieee', NEEDS_FRAMES=True, BLOCK=launch['BLOCK'], stride_w=1
        )
        types = {k: '*' + v for k, v in POINTERS.items()} | dict(
            frames='*u8', weight='*' + name, eps='fp32'
        )
        for kernel in (gpu._forward_kernel, gpu._backward_kernel):
            known = {k: v for k, v in constants.items() if k in kernel.arg_names}
            signature = {
                k: 'constexpr' if k in known else types.get(k, 'i32') for k in kernel.arg_names
            }
            compiled = triton.compile(
                ASTSource(fn=kernel, signature=signature, constexprs=known),
                target=GPUTarget('cuda', capability, 32),
                options=dict(num_warps=launch['num_warps'], num_stages=1),
            )
            assert compiled.metadata.shared <= shared_memory, (capability, name, kernel.__name__)
            print(capability, name, kernel.__name__, 'compiled')
"""


@pytest.mark.slow
def test_kernels_compile_and_fit():
    pytest.importorskip('triton')
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    done = subprocess.run(
        [sys.executable, '-c', COMPILE], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('compiled') == 8
