"""The benchmark from file to label recognizes videos, and its figures are what they are called."""

import json

import pytest
import torch

from benchmarks import file_to_label

CONFIGS = [
    'tsn_r18_1xb16-1x1x8-180e-64px_egogest11-rgb',
    'pan-full_r18_4x1x8-64px_egogest11-rgb',
]


@pytest.mark.slow
def test_report(tmp_path, videos, capsys):
    out = tmp_path / 'speed.json'
    words = ['--repeats', '2', '--threads', '1', '--out', str(out), '--config', *CONFIGS]
    file_to_label.main([str(videos / '3.mp4'), *words])
    report = json.loads(out.read_text())
    assert [*report['models']] == CONFIGS
    assert all(own['ms'] > 0 and own['optimized_ms'] > 0 for own in report['models'].values())
    assert report['environment']['threads'] == 1
    assert report['settings'] == dict(videos=1, repeats=2)
    assert CONFIGS[1] in capsys.readouterr().out


def test_what_is_timed_ends_in_scores(videos):
    for is_optimized in (False, True):
        scores = file_to_label.recognizer(CONFIGS[0], 'cpu', is_optimized)(videos / '3.mp4')
        assert scores.shape == (11,) and torch.isfinite(scores).all()
