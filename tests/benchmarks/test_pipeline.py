import json

import pytest

from benchmarks import pipeline


def test_report(videos, tmp_path, capsys):
    pytest.importorskip('av')
    out = tmp_path / 'pipeline.json'
    paths = [videos / '2.mp4', videos / '3.mp4']
    options = ['--repeats', '1', '--threads', '1', '--out', str(out)]
    pipeline.main([*map(str, paths), *options])
    report = json.loads(out.read_text())
    assert report['equal'] == ['2.mp4', '3.mp4'] and not report['unequal']
    assert report['pipelines']['stock']['times_stock'] == 1
    for row in report['pipelines'].values():
        assert sum(row['stages_ms'].values()) == pytest.approx(row['ms'])
        assert {'open', 'decode', 'Resize'} < set(row['stages_ms'])
    printed = capsys.readouterr().out
    assert '2 of 2 videos give the model equal numbers' in printed and 'times_stock' in printed
