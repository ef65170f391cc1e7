"""Exported files, run by the runtimes that will run them."""

import json
import os

import pytest
import torch
from mmengine.config import Config

from builders import SMALL, first_stages
from pan_mm.apis import PANInferencer
from pan_mm.deploy.export import exporter as module
from pan_mm.deploy.export.exporter import export, random_frames
from pan_mm.inference.recognizer import load_recognizer
from pan_mm.inference.runtime import METADATA, ExportedModel
from pan_mm.utils.errors import CheckpointError

SHAPE = (16, 3, 64, 64)


@pytest.fixture(scope='module')
def small(make_config, make_checkpoint):
    """Config and checkpoint of a network that is exported quickly."""
    config = make_config(more=SMALL)
    return config, make_checkpoint(config)


@pytest.fixture(scope='module')
def exported(small, tmp_path_factory):
    """One file per format, made once; ONNX with the older opset."""
    made = {}

    def get(suffix):
        if suffix == '.onnx':
            pytest.importorskip('onnxruntime')
        if suffix not in made:
            made[suffix] = tmp_path_factory.mktemp('exported') / f'pan{suffix}'
            export(*small, made[suffix], opset=17)
        return made[suffix]

    return get


def assert_same_logits(run, recognizer):
    """Of any batch of raw frames."""
    for batch in (1, 5):
        frames = random_frames(batch, SHAPE, seed=7)
        data = recognizer.data_preprocessor(dict(inputs=[*frames], data_samples=None))
        with torch.no_grad():
            expected = recognizer(data['inputs'], mode='tensor', stage='head')
            torch.testing.assert_close(run(frames), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_program_runs_as_its_checkpoint_does(exported, small):
    program = torch.export.load(exported('.pt2')).module()
    assert_same_logits(program, load_recognizer(*small, 'cpu'))


@pytest.mark.slow
def test_onnx_runs_as_its_checkpoint_does(exported, small, videos, tmp_path):
    """Logits, and predictions of videos, a broken one among them."""
    config, checkpoint = small
    model = ExportedModel(exported('.onnx'))
    assert_same_logits(model.logits, load_recognizer(*small, 'cpu'))
    (tmp_path / 'empty.mp4').touch()
    clips = [videos / '0.mp4', tmp_path / 'empty.mp4', *(videos / f'{i}.mp4' for i in (1, 2, 3))]
    expected = PANInferencer(config, checkpoint, 'cpu', batch_size=3)(clips)
    found = PANInferencer(config, exported('.onnx'), batch_size=3)(clips)
    assert ['error' in one for one in found] == [False, True, False, False, False]
    for one, other in zip(found, expected):
        assert one.keys() == other.keys()
        for item, wanted in zip(one.get('top', ()), other.get('top', ())):
            assert item['label'] == wanted['label']
            assert item['score'] == pytest.approx(wanted['score'], rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_ensemble(make_config, make_checkpoint, videos, tmp_path):
    """PAN_En in one graph, which holds each of the streams."""
    pytest.importorskip('onnxruntime')
    streams = ('rgb', 'pa', 'lite')
    cfg = Config.fromfile(make_config(more=first_stages(1)))
    shared = {key: cfg.model[key] for key in ('backbone', 'cls_head', 'data_preprocessor')}
    cfg.model = dict(type='PANEnsemble', streams={name: {} for name in streams}, **shared)
    clips = [videos / '2.mp4', videos / '3.mp4']
    assert export(cfg, make_checkpoint(cfg), tmp_path / 'a.onnx', videos=clips) < 1e-4


@pytest.mark.slow
class TestOnnx:
    def test_an_older_opset(self, exported):
        onnx = pytest.importorskip('onnx')
        proto = onnx.load(exported('.onnx'))
        assert {each.domain: each.version for each in proto.opset_import}[''] == 17
        means = [node for node in proto.graph.node if node.op_type == 'ReduceMean']
        assert means and all(len(node.input) == 1 for node in means)

    def test_metadata_of_another_model(self, exported, tmp_path):
        onnx = pytest.importorskip('onnx')
        proto = onnx.load(exported('.onnx'))
        (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA)
        metadata = json.loads(entry.value)
        metadata[METADATA]['classes'] = ['a'] * 3
        entry.value = json.dumps(metadata)
        onnx.save(proto, tmp_path / 'a.onnx')
        with pytest.raises(CheckpointError, match=r'3 classes for logits of shape \[19\]'):
            ExportedModel(tmp_path / 'a.onnx')


class TestRefusal:
    @pytest.mark.slow
    def test_wrong_file_is_not_kept(self, small, tmp_path, monkeypatch):
        """A model that computes something else is found, and what was there stays."""

        def write_wrong(model, *args):
            model.mean = model.mean + 9
            run = writer(model, *args)
            model.mean = model.mean - 9
            return run

        writer = module.WRITERS['.pt2']
        monkeypatch.setitem(module.WRITERS, '.pt2', write_wrong)
        (tmp_path / 'a.pt2').write_text('before')
        with pytest.raises(ValueError, match="differ from PyTorch's by"):
            export(*small, tmp_path / 'a.pt2')
        assert (tmp_path / 'a.pt2').read_text() == 'before'
        assert os.listdir(tmp_path) == ['a.pt2']

    @pytest.mark.parametrize(
        ('name', 'kwargs', 'message'),
        [
            ('a.onnx', dict(int8=True), 'videos to calibrate on'),
            ('a.pt2', dict(int8=True, videos=['a.mp4']), 'ends in .onnx'),
            ('a.onnx', dict(opset=16), r'one of \(17, 18\), got 16'),
            ('a.engine', {}, 'must end in one of .*safetensors'),
        ],
    )
    def test_arguments(self, tmp_path, name, kwargs, message):
        with pytest.raises(ValueError, match=message):
            export('config.py', 'pan.pth', tmp_path / name, **kwargs)
