"""The report tool on files as MMEngine writes them, and the table that the README shows."""

import json
from pathlib import Path

import pytest

from pan_mm.apis.report import ReportError, markdown_table, read_run

ROOT = Path(__file__).resolve().parents[3]

CONFIG = """
train_cfg = dict(max_epochs=2)
train_dataloader = dict(batch_size=4)
test_dataloader = dict(dataset=dict(type='MotionShapesDataset'))
"""
LOG = """
    sys.platform: linux
    Python: 3.11.7 (main)
    CUDA available: False
    PyTorch: 2.13.0+cpu
    MMEngine: 0.10.7
    seed: 3
"""


@pytest.fixture
def work_dir(tmp_path):
    """A run of 2 epochs of 10 steps, 0.5 s and 0.4 s a step, then tested."""
    (tmp_path / 'pan-lite.py').write_text(CONFIG)
    (tmp_path / 'epoch_2.pth').touch()
    train, test = tmp_path / '20260101_000000', tmp_path / '20260101_010000'
    for folder in (train, test):
        (folder / 'vis_data').mkdir(parents=True)
        (folder / f'{folder.name}.log').write_text(LOG)
        (folder / 'vis_data' / 'config.py').write_text(CONFIG)
    steps = [
        dict(loss=2.0, epoch=1, step=10, time=0.5),
        {'acc/top1': 0.1, 'step': 1},
        dict(loss=1.0, epoch=2, step=20, time=0.4),
    ]
    (train / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, steps)))
    scores = {'acc/top1': 0.75, 'acc/top5': 1.0, 'acc/mean1': 0.7}
    (test / f'{test.name}.json').write_text(json.dumps(scores))
    return tmp_path


def test_reads_what_the_runner_wrote(work_dir):
    run = read_run(work_dir)
    assert (run['config'], run['seed'], run['epochs']) == ('pan-lite', 3, 2)
    assert (run['top1'], run['top5'], run['mean_class']) == (75, 100, 70)
    assert run['train_minutes'] == round((10 * 0.5 + 10 * 0.4) / 60, 1)
    assert run['environment']['torch'] == '2.13.0+cpu'


def test_unfinished_training(work_dir):
    (work_dir / 'epoch_2.pth').unlink()
    with pytest.raises(ReportError, match='--resume'):
        read_run(work_dir)


def test_untested(work_dir):
    next(work_dir.glob('*_010000/*.json')).unlink()
    with pytest.raises(ReportError, match='trained but not tested'):
        read_run(work_dir)


def test_no_run_at_all(tmp_path):
    with pytest.raises(ReportError, match='no log of a training'):
        read_run(tmp_path)


def test_table_of_the_readme_is_that_of_the_result_file():
    result = json.loads((ROOT / 'results' / 'motionshapes_r18_seed0.json').read_text())
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert markdown_table(result['runs']) in readme
