"""PA's kernels, compiled without a GPU, are as lean as they are built to be."""

import json
from pathlib import Path

import pytest

from builders import run_without_interpreter

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


def test_published_counts():
    (path,) = RESULTS.glob('kernels_*.json')
    assert check(json.loads(path.read_text('utf-8'))['kernels']) == set(BOUNDS)


@pytest.mark.slow
def test_counts():
    rows = json.loads(run_without_interpreter(COUNT))
    assert len(check(rows)) == len(rows)


COMPILE = """
import json, torch
from triton import compile as compile_triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pan_mm.ops import gpu
from benchmarks.kernel_counts import disassemble

CONSTANTS = dict(CHANNELS=3, SIZE=7, ROWS=8, FILTERS=8)
kernel, report = gpu.KERNELS['toeplitz'], []
for capability in (80, 90, 100):
    for dtype, name, pieces, raw in (
        (torch.bfloat16, 'bf16', 1, False), (torch.float32, 'fp32', 1, False),
        (torch.float16, 'fp16', 2, True),
    ):
        constants = dict(CONSTANTS, PIECES=pieces, DTYPE=gpu._TRITON_DTYPE[dtype])
        signature = dict.fromkeys(kernel.arg_names, 'i32')
        signature.update(dict.fromkeys(constants, 'constexpr'), toeplitz='*' + name, weight='*fp32')
        signature.update(scale='*fp32', std=('fp32',) * 3)
        if not raw:
            signature.update(scale='constexpr', std='constexpr')
            constants.update(scale=None, std=None)
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = compile_triton(source, target=GPUTarget('cuda', capability, 32))
        instructions, registers = disassemble(compiled)
        spills = sum(name in ('STL', 'LDL') for _, name, _ in instructions)
        report.append((registers, spills, len(instructions)))
print(json.dumps(report))
"""


@pytest.mark.slow
def test_filters_are_prepared_by_a_small_kernel():
    """It compiles for each capability; three kinds of products for three capabilities."""
    report = json.loads(run_without_interpreter(COMPILE))
    assert len(report) == 9
    for registers, spills, instructions in report:
        assert registers <= 128 and spills == 0 and instructions <= 2000, report
