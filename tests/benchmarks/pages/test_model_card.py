"""Models that come with the package, and their cards."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.pages import model_card
from benchmarks.records.records import Record
from builders import TRAINED_CONFIG
from pan_mm.config.find import require_config
from pan_mm.inference import zoo
from pan_mm.inference.recognizer import get_model, load_recognizer


def test_cards_are_fresh_and_the_weights_small():
    model_card.main(['--check'])
    assert all(path.stat().st_size <= 10e6 for path in zoo.PRETRAINED.glob('*.safetensors'))


@pytest.mark.slow
@pytest.mark.real_data
def test_shipped_weights_score_as_recorded(jhmdb_dir):
    path = zoo.PRETRAINED / 'pan-lite-everyday.safetensors'
    record = model_card.record_of(path)
    cfg = Config.fromfile(require_config(f'{record.info["config"]}.py'))
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.update(data_root=str(jhmdb_dir), indices=[*range(0, 295, 3)])
    loader = Runner.build_dataloader(cfg.test_dataloader)
    model = get_model('pan-lite-everyday', device='cpu')
    with torch.no_grad():
        scores = torch.stack([s.pred_score for batch in loader for s in model.test_step(batch)])
    recorded = torch.from_numpy(record.scores[::3])
    assert len(scores) == len(recorded) == 99
    torch.testing.assert_close(scores, recorded, rtol=0, atol=0.1)
    assert (scores.argmax(1) == recorded.argmax(1)).sum() >= 97


def test_interval():
    assert model_card.wilson(50, 100) == pytest.approx((40.4, 59.6), abs=0.05)
    assert model_card.wilson(10, 10)[1] == pytest.approx(100)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Checkpoint, record and label map of a run whose test is known."""
    monkeypatch.setattr(zoo, 'PRETRAINED', tmp_path / 'pretrained')
    monkeypatch.setattr(model_card, 'RESULTS', tmp_path)
    model = load_recognizer(TRAINED_CONFIG, device='cpu')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    sha256 = hashlib.sha256((tmp_path / 'a.pth').read_bytes()).hexdigest()
    info = dict(config=TRAINED_CONFIG, checkpoint=dict(sha256=sha256))
    (tmp_path / 'a.json').write_text(json.dumps(info))
    (tmp_path / 'map.txt').write_text('left\nright\n')
    names = ('--checkpoint', 'a.pth'), ('--record', 'a.json'), ('--label-map', 'map.txt')
    return [word for option, name in names for word in (option, str(tmp_path / name))]


def test_ship(run, monkeypatch):
    scores = np.array([[2, 1], [1, 2], [2, 0], [0, 1]], np.float32)
    info = dict(lists=['train1.txt', 'test1.txt'])
    clips = [(f'{i}.mp4', label) for i, label in enumerate((0, 0, 0, 1))]
    path = model_card.ROOT / 'results' / 'x' / 'a_seed0.json'
    record = Record(path, info, {}, clips, scores, None, {})
    asked = []
    monkeypatch.setattr(model_card, 'read_record', lambda *args: asked.append(args) or record)
    model_card.main(['--ship', 'pan-two', *run])
    assert asked[0][0] == Path(run[3])
    model = get_model('pan-two', device='cpu')
    assert model.dataset_meta['classes'] == ['left', 'right']
    card = (zoo.PRETRAINED / 'pan-two.md').read_text()
    assert '| train1.txt | test1.txt | 4 | 75.0 | 30.1 … 95.4 | 100.0 | 83.3 |' in card
    assert '| left | 3 | 67 | right (1) |\n| right | 1 | 100 |  |' in card
    assert TRAINED_CONFIG in card and 'EfficientNet-Lite0' in card
    model_card.main(['--check'])
    (zoo.PRETRAINED / 'pan-two.md').write_text('old')
    with pytest.raises(SystemExit, match='stale'):
        model_card.main(['--check'])


def test_record_of_another_checkpoint(run, tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(dict(config=TRAINED_CONFIG, checkpoint={})))
    with pytest.raises(SystemExit, match='is not of .*a.pth'):
        model_card.main(['--ship', 'pan-two', *run])
    assert not zoo.PRETRAINED.exists()
