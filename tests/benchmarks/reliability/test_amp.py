"""Mixed precision trains as float32 does; ``benchmarks.reliability.amp`` is the long comparison."""

import math

import pytest

from benchmarks.reliability.amp import FLOAT16, compare, is_as_good, train


@pytest.mark.slow
def test_the_first_iterations_are_those_of_float32(tmp_path):
    """The model sees the same frames with the same weights: its losses differ by rounding."""
    short = dict(epochs=2, num_train=8, num_val=1)
    exact = train(tmp_path, 'float32', **short)['losses']
    for dtype in ('bfloat16', FLOAT16):
        rounded = train(tmp_path, dtype, **short)['losses']
        assert len(exact) == len(rounded) == 2
        assert rounded != exact
        assert rounded == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    ('loss', 'top1', 'verdict'),
    [(1.0, 0.5, True), (1.3, 0.5, False), (1.0, 0.2, False), (math.nan, 0.5, False)],
)
def test_what_counts_as_as_good(loss, top1, verdict):
    run = dict(loss=[2.0, loss], top1=top1)
    compare(run, dict(loss=[2.0, 1.02], top1=0.48))
    assert is_as_good(run) == verdict
