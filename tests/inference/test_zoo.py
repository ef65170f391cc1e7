"""Models by name, from Python and on the command line."""

import json

import pytest

import pan_mm
from builders import ROOT
from pan_mm.apis import PANInferencer
from pan_mm.cli import main
from pan_mm.inference import zoo
from pan_mm.inference.recognizer import get_model, load_config, load_recognizer
from pan_mm.utils.errors import CheckpointError, PANError

SMALL = 'pan-lite_r18_1xb16-4x1x8-4e_motionshapes-rgb'


class TestNames:
    def test_trained_models_come_first(self, trained):
        names = pan_mm.list_models()
        leaves = {path.stem for path in (ROOT / 'configs' / 'recognition').rglob('*.py')}
        assert names[0] == trained
        assert set(names[1:]) == leaves and len(names) == len(leaves) + 1
        assert pan_mm.list_models(pretrained=True) == [trained]
        assert pan_mm.list_models('tsm_r18*motion*') == ['tsm_r18_1xb16-1x1x8-4e_motionshapes-rgb']

    def test_of_a_config(self):
        model = pan_mm.get_model(SMALL, pretrained=False, device='cpu')
        assert model.cls_head.num_classes == 12
        assert load_config(SMALL).filename == str(zoo.configs()[SMALL])

    def test_of_a_trained_model(self, trained):
        model = get_model(trained, device='cpu')
        assert model.dataset_meta['classes'] == ['left', 'right']
        again, random = get_model(device='cpu'), get_model(trained, False, 'cpu')
        assert again.cls_head.fc_cls.weight.equal(model.cls_head.fc_cls.weight)
        assert not random.cls_head.fc_cls.weight.equal(model.cls_head.fc_cls.weight)


class TestErrors:
    def test_unknown_name(self, trained):
        for name in ('pan-tset', SMALL.replace('r18', 'r19')):
            with pytest.raises(
                PANError, match=f"no model is called '{name}'; the nearest: "
            ) as info:
                get_model(name)
            assert str(info.value).count(', ') == 2
        assert f'nearest: {SMALL}, ' in str(info.value)

    def test_nothing_comes_with_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr(zoo, 'PRETRAINED', tmp_path)
        with pytest.raises(PANError, match='comes without a trained model; give a config'):
            PANInferencer()

    def test_class_count_that_does_not_fit(self, trained, tmp_path):
        config = load_config(trained)
        config.model.cls_head.num_classes = 3
        weights = zoo.find_model(trained).weights
        with pytest.raises(CheckpointError, match=r'fc_cls.weight.*\[2, 1280\].*\[3, 1280\]'):
            load_recognizer(config, weights)
        labels = tmp_path / 'labels.txt'
        labels.write_text('a\nb\nc\n')
        with pytest.raises(ValueError, match='names 3 classes, but the model has 2'):
            PANInferencer(trained, label_map=labels, device='cpu')


class TestCommands:
    def test_predict_without_a_model_named(self, trained, videos, capfd):
        video = str(videos / '0.mp4')
        assert main(['predict', video, '--device', 'cpu', '--format', 'jsonl']) == 0
        said = capfd.readouterr()
        assert f'model: {trained}\n' in said.err
        result = json.loads(said.out)
        assert PANInferencer(device='cpu')(video)[0]['top'] == result['top']
        assert {top['name'] for top in result['top']} == {'left', 'right'}
        more = ['--model', trained, '--cfg-options', 'model.cls_head.average_clips=prob']
        assert main(['predict', video, '--device', 'cpu', '--format', 'jsonl', *more]) == 0
        same = json.loads(capfd.readouterr().out)
        scores = ([top['score'] for top in r['top']] for r in (same, result))
        assert next(scores) == pytest.approx(next(scores))

    @pytest.mark.parametrize(
        ('model', 'message'),
        [
            (['--model', 'pan-tset'], "no model is called 'pan-tset'; the nearest: pan-test, "),
            (['--model', SMALL], f'no weights of {SMALL} come with pan_mm; give --checkpoint'),
            (['--model', SMALL, '--config', 'x.py'], '--model and --config name two models'),
            (['--config', 'x.py', '--checkpoint', 'x.pth'], 'x.py: no such config file'),
            (['--config', 'x.py'], 'x.py: no such config file'),
            (['--checkpoint', 'x.pth'], 'x.pth: name the config, or the model'),
        ],
    )
    def test_bad_input(self, model, message, trained, capsys):
        assert main(['predict', 'a.mp4', *model]) == 1
        assert main(['export', '--out', 'a.onnx', *model]) == 1
        assert capsys.readouterr().err.count(f'error: {message}') == 2


def test_a_folder_named_like_a_model_is_ambiguous(tmp_path, monkeypatch):
    name = zoo.list_models(pretrained=True)[0]
    (tmp_path / name).mkdir()
    (tmp_path / name / 'config.json').touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PANError, match=f'folder {tmp_path / name} is another; .* give ./{name}'):
        zoo.find_model(name)
