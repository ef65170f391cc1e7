"""The tools of tools/analysis, run as a user runs them."""

from pathlib import Path

import mmengine
import pytest
import torch

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_get_flops(run_tool):
    config = 'configs/recognition/pan/pan-en_r50_4x1x8_sthv1-rgb.py'
    done = run_tool('tools/analysis/get_flops.py', config)
    assert done.returncode == 0, done.stderr
    lines = {line.split('  ')[0]: line.split()[-3:] for line in done.stdout.splitlines()}
    assert 'one view of 32 × 3 × 256 × 256, 2 view(s)' in done.stdout
    assert float(lines['all views'][2]) == pytest.approx(2 * (46.6 + 88.4), rel=0.015)
    assert 'streams.lite.backbone.persistence' in lines
    name = Path(config).stem
    done = run_tool('tools/analysis/get_flops.py', name, '--shape', 32, 3, 224, 224)
    assert 'one view of 32 × 3 × 224 × 224, 1 view(s)' in done.stdout


def test_fuse_scores(tmp_path, run_tool):
    paths = []
    for name, score in (('a', [3.0, 0.0]), ('b', [0.0, 5.0])):
        sample = dict(pred_score=torch.tensor(score), gt_label=torch.tensor([1]), filename='x')
        paths.append(tmp_path / f'{name}.pkl')
        mmengine.dump([sample], paths[-1])
    out = tmp_path / 'fused.pkl'
    done = run_tool('tools/analysis/fuse_scores.py', *paths, '--weights', 1, 1, '--out', out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ['fused', '100.00%', '100.00%', '100.00%']
    (fused,) = mmengine.load(out)
    assert fused['pred_score'].tolist() == [1.5, 2.5]
    paths[1].write_bytes(b'')
    done = run_tool('tools/analysis/fuse_scores.py', *paths)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith('error: ')
    assert 'Traceback' not in done.stderr
