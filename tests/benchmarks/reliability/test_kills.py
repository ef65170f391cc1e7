"""Trainings that are killed lose nothing, as docs/reliability.md promises."""

import json
import subprocess
import sys

import pytest

from benchmarks.compared import ROOT


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    out = tmp_path / 'kills.json'
    command = [sys.executable, '-m', 'benchmarks.reliability.kills', '--times', '2', '--out', out]
    result = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(out.read_text())['kills']
    assert sum(report['kills'].values()) == 2
    assert report['broken_checkpoints'] == 0 and report['differing_runs'] == 0
    assert report['finished_runs'] >= 1
