"""docs/reliability.md names tests that exist and figures that were measured."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pages import reliability

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / 'docs' / 'reliability.md'
CURVE = dict(
    before=100,
    highest_of_first_half=200,
    highest_of_second_half=210,
    seconds=[0, 60, 120],
    mib=[100, 200, 210],
)
RESULTS = dict(
    kills=dict(
        kills=dict(saving=3, training=1), broken_checkpoints=0, finished_runs=2, differing_runs=1
    ),
    fuzz=dict(targets=dict(head=5, sampling=7), inputs=1200, failed=['head']),
    amp=dict(
        bound=dict(loss=0.1, top1=0.05),
        device='cpu',
        clips=24,
        runs=dict(
            float32=dict(loss=[2.5, 2.0]),
            bfloat16=dict(loss=[2.5, 2.02], loss_difference=0.01, top1_difference=-0.02),
        ),
    ),
    serve=dict(
        answers={'good: 200': 70, 'good: 503': 20, 'large: 413': 9, 'cut: no answer': 1},
        parallel=50,
        minutes=2,
        faults=1,
        memory=CURVE,
        environment=dict(load_average=[7.5, 1, 1]),
        beside_slow_clients=dict(
            honest=5,
            slow=4,
            refused=0,
            alone=dict(per_minute=30, seconds=dict(median=2.04, worst=4)),
            beside=dict(
                minutes=2,
                answers={'200': 1058},
                per_minute=29,
                seconds=dict(median=2.1, worst=4.2),
            ),
        ),
    ),
    stream=dict(
        camera=dict(fps=300, seconds=120),
        models=dict(
            pan=dict(
                plain=dict(
                    arrived=36000,
                    dropped=1000,
                    predictions=400,
                    latency_ms=dict(max=99.6),
                    memory=CURVE,
                )
            )
        ),
    ),
)
COVERAGE = """| Name | Stmts | Miss | Cover |
|----- | ----: | ---: | ----: |
| pan\\_mm/a.py | 40 | 4 | 90% |
| **TOTAL** | **1000** | **80** | **92%** |
"""


def test_the_page_is_fresh():
    reliability.main(['--check'])


def test_the_plot_shows_the_result_files():
    """The plot holds a fingerprint of the files that it was drawn from."""
    results = ROOT / 'results' / 'reliability'
    path = DOCUMENT.parent / reliability.PLOT
    assert path.exists() == bool(reliability.plotted(results))
    if path.exists():
        assert Image.open(path).text['Source'] == reliability.fingerprint(results)


def test_the_figures_are_those_of_the_result_files(tmp_path):
    for name, found in RESULTS.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(found))
    (tmp_path / 'coverage.md').write_text(COVERAGE)
    text = reliability.page('# Text\n\n## Figures\n\nold\n', tmp_path)
    assert text.startswith('# Text\n\n## Figures\n') and 'old' not in text
    for row in (
        '| 4 (3 while saving, 1 while training) | 0 broken checkpoints; 1 of 2 runs differ',
        '| 1,200 | 1 with an undocumented error |',
        'loss within 10%, val top-1 within 5 points) | 2 epochs of 24 clips | last epoch: bfloat16 '
        'loss +1.0%, top-1 -2.0 points |',
        '50 at once for 2 min | 100 | 70 served, 29 refused with a reason, 1 without',
        '| 5 good clients with as many places, with 4 slow ones for 2 min | 1,058 | 0 refused; '
        '29 videos a minute, without slow clients 30; median 2.1 s, without 2.0 s; slowest 4.2 s, '
        'without 4.0 s (load '
        'average 7.5) |',
        '| 36,000 | 1,000 dropped in whole segments, 400 predictions, the slowest 100 ms',
        '| 1,000 | 92 % of them were run |',
    ):
        assert row in text
    reliability.write_plot(tmp_path, tmp_path / reliability.PLOT)
    with Image.open(tmp_path / reliability.PLOT) as image:
        assert image.text['Source'] == reliability.fingerprint(tmp_path)
        assert image.width > 400


NAMED = sorted(set(re.findall(r'`(tests/\S+?\.py(?:::\w+)?)`', DOCUMENT.read_text('utf-8'))))


@pytest.mark.parametrize('name', NAMED)
def test_named_tests_exist(name):
    path, _, test = name.partition('::')
    text = (ROOT / path).read_text(encoding='utf-8')
    assert re.search(rf'^(def|class) {test}\b', text, re.MULTILINE) if test else 'def test_' in text
