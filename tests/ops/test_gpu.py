"""PA's kernels as a GPU gets them, which needs no GPU: specialised, compiled, counted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[2] / 'results' / 'performance'
# At most, in warp instructions per output: by kernel, compute capability, frames and precision.
BOUNDS = {
    ('features', 9.0, 'bfloat16', 'bfloat16'): 10,
    ('features', 9.0, 'float16', 'float16'): 10,
    ('features', 9.0, 'uint8', 'float16'): 14,
    ('features', 9.0, 'uint8', 'float32'): 17,
    ('features', 9.0, 'float32', 'float32'): 40,
    ('features, backward', 9.0, 'bfloat16', 'bfloat16'): 11,
    ('features, backward', 9.0, 'uint8', 'float16'): 16,
    ('filters', 9.0, 'bfloat16', 'bfloat16'): 6,
    ('filters', 9.0, 'uint8', 'float16'): 8,
    ('features', 8.0, 'bfloat16', 'bfloat16'): 11,
    ('features', 8.0, 'uint8', 'float16'): 21,
    ('features', 10.0, 'bfloat16', 'bfloat16'): 12,
    ('features', 10.0, 'uint8', 'float16'): 18,
}
MATRIX_KINDS = {8.0: 'HMMA', 9.0: 'HGMMA', 10.0: 'UTCHMMA'}

COUNT = """
import json, torch
from benchmarks.kernel_counts import count

half = torch.bfloat16, torch.bfloat16
rows = [count('features', *half, capability) for capability in (80, 90, 100)]
rows.append(count('features', torch.uint8, torch.float16, 90))
rows.append(count('filters', *half, 90))
rows.append(count('features', *half, 90, backward=True))
print(json.dumps(rows))
"""
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
    steps = 2 if name == 'features' else 1  # forward and backward are two specialisations
    assert len(recorder.keys) == 3 * steps, (name, len(recorder.keys))
    assert len(set(recorder.keys)) == steps, (name, set(recorder.keys))
"""


def run_without_interpreter(script):
    pytest.importorskip('triton')
    environment = dict(os.environ, TRITON_DEFAULT_FP_FUSION='1')
    environment.pop('TRITON_INTERPRET', None)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check(rows):
    """Hold rows of :mod:`benchmarks.kernel_counts` to what the kernels are built for."""
    seen = set()
    for row in rows:
        name = f'{row["kernel"]}, {row["capability"]}, {row["frames"]}, {row["filters"]}'
        key = tuple(row[part] for part in ('kernel', 'capability', 'frames', 'precision'))
        assert row['atomics'] == 0, name
        assert row['matrix_instructions'] > 0, name
        assert row['shared_bytes'] <= 163 * 1024, name
        if row['frames'] in ('float16', 'bfloat16') and row['kernel'] in ('features', 'filters'):
            assert row['loads']['128'] > 0 and set(row['loads']) <= {'128', '32'}, name
        few = row['filters'] == 8 or row['capability'] > 8  # 16 filters spill on 8.0
        if few and (row['frames'] != 'float32' or row['kernel'] == 'features'):
            assert row['spills'] == 0, name
        if (row['filters'], row['size']) == (8, 7) and key in BOUNDS:
            assert row['instructions_per_output'] <= BOUNDS[key], name
            if row['frames'] != 'float32':
                assert row['matrix_kind'] == MATRIX_KINDS[row['capability']], name
            seen.add(key)
    return seen


def test_a_smaller_last_batch_compiles_nothing():
    run_without_interpreter(SPECIALISE)


def test_published_counts():
    (path,) = RESULTS.glob('kernels_*.json')
    assert check(json.loads(path.read_text('utf-8'))['kernels']) == set(BOUNDS)


@pytest.mark.slow
def test_counts():
    rows = json.loads(run_without_interpreter(COUNT))
    assert len(check(rows)) == len(rows)
