"""The lines of docs/deployment.md that recognize a video without this package."""

import re
import shutil
import subprocess
import sys

import pytest

from builders import ROOT
from pan_mm.deploy.export.exporter import export
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.zoo import choose

pytestmark = pytest.mark.slow


def test_they_give_the_same_scores(videos, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    text = (ROOT / 'docs/deployment.md').read_text('utf-8').partition('### Without this package')[2]
    lines = re.search(r'```python\n(.*?)```', text, re.S)[1]
    assert 'pan_mm' not in re.findall(r'^(?:import|from) (\w+)', lines, re.M)
    video = sorted(path for path in videos.iterdir() if path.suffix == '.mp4')[0]
    shutil.copy(video, tmp_path / 'video.mp4')
    export(*choose(None, None), tmp_path / 'pan.onnx')
    command = [sys.executable, '-I', '-c', lines]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = [line.split(' ', 1) for line in done.stdout.splitlines()]
    (result,) = PANInferencer(*choose(None, None))([tmp_path / 'video.mp4'])
    assert rows[0][1] == result['top'][0]['name']
    scores = {each['name']: each['score'] for each in result['top']}
    for score, name in rows:
        assert float(score) == pytest.approx(scores.get(name, float(score)), abs=0.005)
    assert len(scores.keys() & {name for _, name in rows}) >= 4
