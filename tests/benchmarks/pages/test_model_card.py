"""Models that come with the package, and their cards."""

import hashlib

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.pages import model_card
from benchmarks.runs import Run, RunError
from builders import TRAINED_CONFIG
from pan_mm.config.find import require_config
from pan_mm.inference import zoo
from pan_mm.inference.recognizer import get_model, load_recognizer


def test_weights_are_small_and_named_by_the_table():
    for path, text in model_card.cards():
        assert path.read_text(encoding='utf-8') == text and 'In percent.' in text
    assert all(path.stat().st_size <= 10e6 for path in zoo.PRETRAINED.glob('*.safetensors'))


@pytest.mark.slow
@pytest.mark.real_data
def test_shipped_weights_score_as_recorded(jhmdb_dir):
    path = zoo.PRETRAINED / 'pan-lite-everyday.safetensors'
    run = model_card.run_of(path)
    cfg = Config.fromfile(require_config(f'{run.info["config"]}.py'))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.update(data_root=str(jhmdb_dir), indices=[*range(0, 295, 3)])
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model = get_model('pan-lite-everyday', device='cpu')
    with torch.no_grad():
        scores = torch.stack([s.pred_score for batch in loader for s in model.test_step(batch)])
    recorded = torch.from_numpy(run.scores[::3]).float()
    scores -= scores.max(1, keepdim=True).values
    assert len(scores) == len(recorded) == 99
    torch.testing.assert_close(scores, recorded, rtol=0, atol=0.1)
    assert (scores.argmax(1) == recorded.argmax(1)).sum() >= 97


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A checkpoint, and the run of its test."""
    monkeypatch.setattr(zoo, 'PRETRAINED', tmp_path / 'pretrained')
    model = load_recognizer(TRAINED_CONFIG, device='cpu')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    (tmp_path / 'map.txt').write_text('left\nright\n')
    info = dict(config=TRAINED_CONFIG, train_list='train1.txt', test_list='test1.txt')
    info.update(dataset=TRAINED_CONFIG.rpartition('_')[2], run='a_seed0')
    info['sha256'] = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()
    scores = np.array([[2, 1], [1, 2], [2, 0], [0, 1]], float)
    labels = np.array([0, 0, 0, 1])
    run = Run(info, np.array([f'{i}.mp4' for i in range(4)]), labels, scores)
    monkeypatch.setattr(model_card, 'runs_of', lambda dataset: [run])
    return run


def words(run, folder):
    name = f'{run.info["dataset"]}/{run.info["run"]}'
    return ['pan-two', str(folder / 'a.pth'), name, '--label-map', str(folder / 'map.txt')]


def test_ship(run, tmp_path):
    zoo.PRETRAINED.mkdir()
    model_card.main(words(run, tmp_path))
    model = get_model('pan-two', device='cpu')
    assert model.dataset_meta['classes'] == ['left', 'right']
    ((path, card),) = model_card.cards()
    assert path == zoo.PRETRAINED / 'pan-two.md'
    assert '| train1.txt | test1.txt | 4 | 75.0 | 30.1 … 95.4 | 100.0 | 83.3 |' in card
    assert '| left | 3 | 67 | right (1) |\n| right | 1 | 100 |  |' in card
    assert TRAINED_CONFIG in card and 'EfficientNet-Lite0' in card and '`a_seed0`' in card


def test_run_of_another_checkpoint(run, tmp_path):
    run.info['sha256'] = 'other'
    with pytest.raises(RunError, match='a_seed0 is not of .*a.pth'):
        model_card.main(words(run, tmp_path))
    run.info['run'] = 'b_seed0'
    with pytest.raises(RunError, match='has no run x/a_seed0'):
        model_card.find_run('x/a_seed0')
