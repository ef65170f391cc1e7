"""docs/performance.md is what its template and the result files say."""

import json

import pytest
from PIL import Image

from benchmarks.compared import ROOT
from benchmarks.pages import performance

ENVIRONMENT = dict(device='Some Processor', cores=2, torch='2.13.0', date='2026-11-22 20:00 UTC')
METHOD = dict(ms_per_frame=1.0, times_naive=1.0, times_tvl1=None, share_of_limit=0.5)
ROW = dict(ms=100.0, spread=[90.0, 110.0], per_second=10.0)
LINE = dict(slope=1.0, intercept=0.0, farthest=0.0)
REPORTS = {
    'motion': dict(
        results=[
            dict(
                dtype=dtype,
                width=224,
                height=224,
                batch=8,
                threads=2,
                matrix_product_gflops=100.0,
                copy_gbytes_per_second=10.0,
                methods=[
                    dict(METHOD, method='naive', frames_per_second=123.0),
                    dict(METHOD, method='cpu', frames_per_second=1234.0),
                ],
                training=[dict(method='naive', ms=3.0, peak_mbytes=7.0)],
            )
            for dtype in ('float32', 'bfloat16')
        ]
    ),
    'recognizer': dict(
        settings=dict(size=112),
        models={
            name: dict(config=name, clip=[8, 3, 112, 112], parameters=24e6)
            for name in ('PAN_Lite', 'TSM')
        },
        inference=[
            dict(ROW, model=name, variant=variant, batch=1, clips_per_second=rate, peak_mbytes=50.0)
            for name, rate in (('PAN_Lite', 9.25), ('TSM', 9.75))
            for variant in ('plain', 'optimized')
        ],
        training=[
            dict(
                ROW, model=name, variant='plain', batch=2, clips_per_second=20.0, peak_mbytes=900.0
            )
            for name in ('PAN_Lite', 'TSM')
        ],
        video=[
            dict(ROW, model='PAN_Lite', videos=3, videos_per_second=5.0, decoding_share=0.4),
        ],
        growth=[
            dict(
                quantity='batch',
                values=[1, 2],
                ms=[10.0, 20.0],
                peak_mbytes=[100.0, 200.0],
                line_ms=LINE,
                line_mbytes=LINE,
            )
        ],
    ),
    'pipeline': dict(
        pipelines={
            name: dict(
                ms=ms,
                videos_per_second=1000 / ms,
                times_stock=20 / ms,
                times_stock_median=20 / ms,
                stages_ms=dict(open=1, decode=ms - 1),
            )
            for name, ms in (('stock', 20), ('default', 10))
        },
        equal=['a.mp4'],
        unequal=[],
    ),
}
REPORTS['stream'] = dict(
    camera=dict(fps=25, seconds=40, width=320, height=240),
    size=112,
    stride=8,
    models=dict(
        lite=dict(
            plain=dict(dropped=8, arrived=100, keeps_up=False),
            optimized=dict(
                latency_ms=dict(p50=50.4, p95=60, max=70), dropped=0, arrived=100, keeps_up=True
            ),
        )
    ),
)
REPORTS['int8'] = dict(
    config='lite',
    videos=240,
    calibration_videos=32,
    same_top1=97.5,
    mib=dict(float32=43.1, int8=11.0),
    figures={
        name: dict(top1=41.25, top5=90.0, median_ms=ms)
        for name, ms in (('pytorch', 30.0), ('float32', 25.0), ('int8', 12.3))
    },
)
TEMPLATE = 'Text stays.\n\n' + '\n\n'.join(f'@{name}@' for name in performance.KINDS)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / 'results'
    folder.mkdir()
    for name, report in REPORTS.items():
        report = dict(environment=dict(ENVIRONMENT, threads=2), **report)
        (folder / f'{name}_machine.json').write_text(json.dumps(report))
    return folder


def test_page_is_fresh():
    performance.main(['--check'])


def test_page_tells_what_was_measured(results):
    text = performance.page(TEMPLATE, results)
    assert 'Text stays.' in text and '@' not in text
    assert 'Some Processor; cores 2, threads 2, torch 2.13.0; 2026-11-22 20:00 UTC.' in text
    assert '| cpu | 1234 |' in text
    assert '| PAN_Lite | 8 | 24.0 | 100 | 9.25 | 9.25 |' in text
    assert '| batch | 1, 2 | 10, 20 | 100, 200 | 0%, 0% |' in text
    assert '| times stock | 1.00 | 2.00 |' in text
    assert '| lite | plain |  |  |  | 8 of 100 | no |' in text
    assert '| lite | optimized | 50 | 60 | 70 | 0 of 100 | yes |' in text
    assert '| int8 | 41.2 | 90.0 | 12.3 | 11.0 |' in text


def test_page_without_results_says_how_to_make_them(tmp_path):
    text = performance.page(TEMPLATE, tmp_path)
    for kind in ('motion', 'recognizer', 'pipeline', 'stream'):
        assert f'python -m benchmarks.{kind} VIDEO' in text
    assert text.count('recognizer_MACHINE.json') == 2  # the growth is in that file


def test_plots(results, tmp_path):
    folder = tmp_path / 'plots'
    performance.write_plots(results, folder)
    text = performance.page(TEMPLATE, results)
    names = [path.name for path in folder.iterdir()]
    assert len(names) == 4 and all(f'(performance/{name})' in text for name in names)
    for path in folder.iterdir():
        image = Image.open(path)
        assert image.width > 200 and len(image.getcolors(2**24)) > 10
    (results / 'motion_machine.json').unlink()
    performance.write_plots(results, folder)
    assert len(list(folder.iterdir())) == 3


def test_what_the_page_says_of_a_gpu_holds():
    files = (
        ROOT / 'results' / 'performance' / f'motion_h200-{d}.json'
        for d in ('bfloat16', 'float16', 'float32')
    )
    half, float16, full = (json.loads(file.read_text())['results'][0] for file in files)

    def speed(result, one, other):
        rows = {row['method']: row['frames_per_second'] for row in result['methods']}
        return rows[one] / rows[other]

    def cost(result, key, one, other):
        rows = {row['method']: row[key] for row in result['training']}
        return rows[one] / rows[other]

    assert speed(half, 'triton', 'naive') == pytest.approx(5, abs=0.2)
    assert cost(half, 'ms', 'triton', 'naive') == pytest.approx(0.28, abs=0.005)
    assert cost(half, 'peak_mbytes', 'triton', 'naive') == pytest.approx(0.09, abs=0.005)
    assert cost(full, 'peak_mbytes', 'reference', 'triton') == pytest.approx(14, abs=0.5)
    assert speed(full, 'reference', 'triton') == pytest.approx(2.0, abs=0.05)
    assert cost(full, 'ms', 'triton', 'reference') == pytest.approx(1.7, abs=0.05)
    rates = {row['method']: row['frames_per_second'] for row in full['methods']}
    assert max(set(rates) - {'frame difference'}, key=rates.get) == 'triton, from uint8'
    for result, longer in ((half, 1.07), (float16, 1.12)):
        ms = {(t['block'], t['rows'], t['warps']): t['ms'] for t in result['tuning'] if 'ms' in t}
        assert ms[64, 4, 4] / min(ms.values()) == pytest.approx(longer, abs=0.005)
