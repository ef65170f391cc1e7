"""A brief run of each fuzzing target; ``python tests/fuzz/run.py`` is the long one."""

import pytest
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, settings

BRIEF = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize('name', TARGETS)
def test_no_input_is_a_surprise(name):
    BRIEF(TARGETS[name][1])()
