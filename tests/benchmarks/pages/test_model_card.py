"""Models that come with the package, and their cards."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.pages import model_card
from benchmarks.runs import Run, RunError
from builders import TRAINED_CONFIG
from pan_mm.config.find import require_config
from pan_mm.deploy.export.weights import export_weights
from pan_mm.inference import zoo
from pan_mm.inference.recognizer import get_model, load_recognizer
from pan_mm.utils.safetensors import read_texts


def test_weights_are_small_and_named_by_the_table():
    for path, text in model_card.cards():
        assert path.read_text(encoding='utf-8') == text and 'In percent.' in text
    assert all(path.stat().st_size <= 15e6 for path in zoo.PRETRAINED.glob('*.safetensors'))


@pytest.mark.slow
@pytest.mark.real_data
def test_shipped_weights_score_as_recorded(jhmdb_dir):
    path = zoo.PRETRAINED / 'pan-everyday.safetensors'
    run = model_card.find_run(read_texts(path), 'record')
    cfg = Config.fromfile(require_config(f'{run.info["config"]}.py'))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.update(data_root=str(jhmdb_dir), indices=[*range(0, 295, 7)])
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model = get_model('pan-everyday', device='cpu')
    with torch.no_grad():
        scores = torch.stack([s.pred_score for batch in loader for s in model.test_step(batch)])
    recorded = torch.from_numpy(run.scores[::7]).float()
    scores -= scores.max(1, keepdim=True).values
    assert len(scores) == len(recorded) == 43
    torch.testing.assert_close(scores, recorded, rtol=0, atol=0.15)
    assert (scores.argmax(1) == recorded.argmax(1)).sum() >= 42


def test_card_of_a_model(tmp_path, monkeypatch):
    """Written from the run that its weights name."""
    monkeypatch.setattr(zoo, 'PRETRAINED', tmp_path)
    model = load_recognizer(TRAINED_CONFIG, device='cpu')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    (tmp_path / 'map.txt').write_text('left\nright\n')
    weights = tmp_path / 'pan-two.safetensors'
    checkpoint, label_map = tmp_path / 'a.pth', tmp_path / 'map.txt'
    info = dict(dataset='custom-rgb', run='a_seed0', train_list='train1.txt', test_list='test1.txt')
    info['config'] = TRAINED_CONFIG
    scores = np.array([[2, 1], [1, 2], [2, 0], [0, 1]], float)
    run = Run(info, np.array([f'{i}.mp4' for i in range(4)]), np.array([0, 0, 0, 1]), scores)
    monkeypatch.setattr(model_card, 'runs_of', lambda dataset: [run])
    texts = model_card.texts_of(run, dev=run)
    export_weights(TRAINED_CONFIG, checkpoint, weights, label_map, torch.float16, texts)
    own = get_model('pan-two', device='cpu').dataset_meta['calibration']
    assert own['temperature'] == pytest.approx(0.956, abs=1e-3)
    assert own['threshold'] == pytest.approx(0.740, abs=1e-3)
    ((path, card),) = model_card.cards()
    assert path == tmp_path / 'pan-two.md'
    assert '| train1.txt | test1.txt | 4 | 75.0 | 30.1 … 95.4 | 100.0 | 83.3 |' in card
    assert '| left | 3 | 67 | right (1) |\n| right | 1 | 100 |  |' in card
    assert 'temperature of 0.96' in card
    assert TRAINED_CONFIG in card and 'EfficientNet-Lite0' in card and '`a_seed0`' in card
    run.info['run'] = 'b_seed0'
    with pytest.raises(RunError, match='has no run a_seed0, which the weights name'):
        model_card.find_run(texts, 'record')
