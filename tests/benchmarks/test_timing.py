"""What the benchmarks share measures what it says."""

import json

import pytest
import torch

from benchmarks.timing import environment, median_ms, peak_of, time_in_turns, write_report


def test_turns():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in 'ab'}
    seconds = time_in_turns(functions, repeats=2, warmup=1)
    assert calls == ['a', 'b', 'a', 'b', 'a', 'b']
    assert all(len(runs) == 2 and min(runs) > 0 for runs in seconds.values())
    assert median_ms([0.003, 0.001, 0.005]) == 3


def test_peak_is_what_is_held_at_once():
    def one_after_another():
        for _ in range(3):
            torch.ones(2**20)

    def together():
        return [torch.ones(2**20) for _ in range(3)]

    assert peak_of(one_after_another, 'cpu') == pytest.approx(4 * 2**20, rel=0.01)
    assert peak_of(together, 'cpu') == pytest.approx(12 * 2**20, rel=0.01)


def test_report_names_its_environment(tmp_path):
    path = tmp_path / 'new' / 'report.json'
    write_report(path, dict(environment=environment('cpu')))
    write_report(path, dict(a=1), 'part')
    report = json.loads(path.read_text())
    assert report['environment']['torch'] == torch.__version__
    assert report['environment']['device'] and report['part'] == dict(a=1)
    assert [p.name for p in path.parent.iterdir()] == ['report.json']
