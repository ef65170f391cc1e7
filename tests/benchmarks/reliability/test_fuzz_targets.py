"""A brief run of each fuzzing target; ``python -m benchmarks.reliability.fuzz`` is the long one."""

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.reliability.fuzz_targets import TARGETS


@pytest.mark.parametrize('name', TARGETS)
def test_no_input_is_a_surprise(name):
    share, function = TARGETS[name]
    brief = settings(
        max_examples=min(60, 6 * share),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    brief(function)()
