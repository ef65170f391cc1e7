"""Trainings that are killed lose nothing, as docs/reliability.md promises."""

import json

import pytest


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path, run_tool):
    out = tmp_path / 'kills.json'
    run_tool('benchmarks.reliability.kills', '--times', 2, '--out', out, check=True)
    report = json.loads(out.read_text())['kills']
    assert sum(report['kills'].values()) == 2
    assert report['broken_checkpoints'] == 0 and report['differing_runs'] == 0
    assert report['finished_runs'] >= 1
