"""The published counts of PA's CUDA kernels, and how instructions become counts."""

import json
import re
from pathlib import Path

import pytest
from cuda_emulator import BARRIER, SOURCE

from benchmarks.cuda_kernel import KINDS, Instruction, count, loops, variants

REPORT = Path(__file__).resolve().parents[2] / 'results/performance/cuda_kernel.json'
# At most, in warp instructions per output of 9.0: by kernel and pieces.
BOUNDS = {('forward', '1 × 1'): 5, ('forward', '1 × 2'): 6.5, ('forward', '2 × 2'): 9.5}

WIDE = [('forward', '1 × 1')]  # tiles of 80 columns, others have 64


def test_published_counts():
    report = json.loads(REPORT.read_text('utf-8'))
    rows = report['programs']
    assert len(rows) == 3 * 2 * len(KINDS)
    for row in rows:
        assert row['spilled_bytes'] == 0 or row['kernel'] == 'backward', row
        bound = BOUNDS.get((row['kernel'], row['pieces']), 25)
        assert 3 < row['instructions_per_output'] < bound, row  # fewer: the loop was not found
        threads = row['blocks'] * (160 if (row['kernel'], row['pieces']) in WIDE else 128)
        assert row['registers'] * threads <= 65536 and row['shared_bytes'] <= 48 * 1024, row
    half = [
        row['instructions_per_output']
        for row in rows
        if (row['capability'], row['kernel'], row['pieces']) == (9.0, 'forward', '1 × 1')
    ]
    assert (round(min(half), 1), round(max(half), 1)) == (4.3, 4.7)  # as docs/performance.md says
    assert len(report['barriers']) == SOURCE.count(BARRIER)
    assert all(row['noticed'] or row['why'] for row in report['barriers'])
    assert re.fullmatch(r'\d+\.\d+', report['environment']['nvrtc'])


def test_loops_are_the_innermost_ones():
    names = ['LDG', 'HMMA', 'BRA 0x10', 'STS', 'BRA 0x0', 'EXIT']
    instructions = [Instruction(16 * i, *f'{name} '.split(' ', 1)) for i, name in enumerate(names)]
    (loop,) = loops(instructions)
    assert [i.name for i in loop] == ['HMMA', 'BRA']


@pytest.mark.slow
def test_counts_come_out_again():
    """Here and today; another compiler may count a few more or less."""
    pytest.importorskip('cuda.core', reason='cuda-core is not installed')
    pytest.importorskip('cuda.bindings.nvrtc', reason='NVRTC is not installed')
    published = json.loads(REPORT.read_text('utf-8'))['programs']
    row = count(next(variants()), (9, 0))
    (same,) = [
        each
        for each in published
        if all(each[k] == row[k] for k in ('kernel', 'capability', 'frames', 'layout', 'product'))
    ]
    for key in ('registers', 'instructions_per_output'):
        assert row[key] == pytest.approx(same[key], rel=0.1)
