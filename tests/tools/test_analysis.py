"""The tools of tools/analysis, run as a user runs them."""

import pytest

pytestmark = pytest.mark.slow


def test_get_flops(run_tool):
    config = 'configs/recognition/pan/pan-en_r50_4x1x8_sthv1-rgb.py'
    done = run_tool('tools/analysis/get_flops.py', config)
    assert done.returncode == 0, done.stderr
    lines = {line.split('  ')[0]: line.split()[-3:] for line in done.stdout.splitlines()}
    assert 'one view of 32 × 3 × 256 × 256, 2 view(s)' in done.stdout
    assert float(lines['all views'][2]) == pytest.approx(2 * (46.6 + 88.4), rel=0.015)
