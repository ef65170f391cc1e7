"""The published counts of PA's CUDA kernels."""

import json
import re
from pathlib import Path

import pytest
from cuda_emulator import BARRIER, SOURCE

from benchmarks.cuda_kernel import KINDS, count, variants

REPORT = Path(__file__).resolve().parents[2] / 'results/performance/cuda_kernel.json'
WIDE = [('forward', '1 × 1')]  # tiles of 80 columns, others have 64


def test_published_counts():
    report = json.loads(REPORT.read_text('utf-8'))
    rows = report['programs']
    assert len(rows) == 3 * 2 * len(KINDS)
    for row in rows:
        assert row['spilled_bytes'] == 0 or row['kernel'] == 'backward', row
        threads = row['blocks'] * (160 if (row['kernel'], row['pieces']) in WIDE else 128)
        assert row['registers'] * threads <= 65536 and row['shared_bytes'] <= 48 * 1024, row
    assert len(report['barriers']) == SOURCE.count(BARRIER)
    assert all(row['noticed'] or row['why'] for row in report['barriers'])
    assert re.fullmatch(r'\d+\.\d+', report['environment']['nvrtc'])


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
    assert row['registers'] == pytest.approx(same['registers'], rel=0.1)
