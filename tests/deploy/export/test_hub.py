"""A recognizer goes to the hub's form and comes back; what it holds is data alone."""

import base64
import json
import os
import shutil

import pytest
from mmaction.registry import MODELS

from builders import SMALL, QuietHandler, served, write_checkpoint
from pan_mm.apis import PANInferencer, get_model
from pan_mm.cli import main
from pan_mm.deploy.export import push_to_hub, save_pretrained
from pan_mm.inference.hub import config_of, open_hub, plain_config
from pan_mm.inference.recognizer import load_config
from pan_mm.utils.errors import CheckpointError, PANError
from pan_mm.utils.safetensors import load_safetensors


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp('labels') / 'map.txt'
    path.write_text(''.join(f'class {i}\n' for i in range(19)))
    return path


@pytest.fixture(scope='module')
def folder(config, checkpoint, labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp('hub') / 'pan'
    save_pretrained(folder, config, checkpoint, labels)
    return folder


def test_there_and_back(folder, config, checkpoint, videos, capfd):
    assert sorted(os.listdir(folder)) == ['README.md', 'config.json', 'model.safetensors']
    video = str(videos / '1.mp4')
    own = PANInferencer(config, checkpoint, device='cpu')(video)[0]['top']
    (found,) = PANInferencer(str(folder), device='cpu')(video)
    assert [top['score'] for top in found['top']] == [top['score'] for top in own]
    assert found['top'][0]['name'] == f'class {own[0]["label"]}'
    assert get_model(str(folder), device='cpu').dataset_meta['classes'][18] == 'class 18'
    assert main(['predict', video, '--model', str(folder), '--device', 'cpu']) == 0
    said = capfd.readouterr()
    assert f'model: {folder}' in said.err and f'% class {own[0]["label"]}' in said.out


def test_a_card_that_is_there_stays(folder, config, checkpoint, tmp_path):
    text = (folder / 'README.md').read_text()
    assert 'class 0, class 1' in text and 'pipeline_tag: video-classification' in text
    (tmp_path / 'README.md').write_text('mine')
    save_pretrained(tmp_path, config, checkpoint)
    assert (tmp_path / 'README.md').read_text() == 'mine'


def test_from_the_hub_without_a_network(folder, tmp_path, monkeypatch):
    """A model in the hub's own cache is found, and one that it lacks ends in a clear error."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    commit = 'a' * 40
    cache = tmp_path / 'models--someone--pan'
    shutil.copytree(folder, cache / 'snapshots' / commit)
    (cache / 'refs').mkdir()
    (cache / 'refs' / 'main').write_text(commit)
    for name in ('hf://someone/pan', f'hf://someone/pan@{commit}'):
        assert get_model(name, device='cpu').dataset_meta['classes'][18] == 'class 18'
    with pytest.raises(OSError) as error:
        get_model('hf://someone/else')
    assert type(error.value).__name__ == 'LocalEntryNotFoundError'


class Hub(QuietHandler):
    """As much of the hub as an upload asks for."""

    def do_POST(self):  # noqa: N802, the base class's name
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.asked.append((self.path, body))
        url = f'http://{self.headers["Host"]}/a/b'
        answer = dict(url=url, commitUrl=f'{url}/commit/{"1" * 40}', commitOid='1' * 40)
        if 'preupload' in self.path:
            names = [file['path'] for file in json.loads(body)['files']]
            mode = dict(uploadMode='regular', shouldIgnore=False)
            answer = dict(files=[dict(mode, path=name) for name in names])
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def test_upload(folder, config, checkpoint, labels, tmp_path, monkeypatch):
    with served(Hub) as server:
        server.asked = []
        monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', server.url)
        address = push_to_hub('a/b', config, checkpoint, labels, token='hf_x')
    assert address == f'{server.url}/a/b/commit/{"1" * 40}'
    (commit,) = (body for path, body in server.asked if path == '/api/models/a/b/commit/main')
    parts = [json.loads(line)['value'] for line in commit.splitlines()]
    sent = {part['path']: base64.b64decode(part['content']) for part in parts if 'path' in part}
    assert sent['config.json'] == (folder / 'config.json').read_bytes()
    (tmp_path / 'a.safetensors').write_bytes(sent['model.safetensors'])
    theirs, own = map(load_safetensors, (tmp_path / 'a.safetensors', folder / 'model.safetensors'))
    assert theirs['meta'] == own['meta']
    assert all(own['state_dict'][k].equal(v) for k, v in theirs['state_dict'].items())
    assert b"PANInferencer('hf://a/b')" in sent['README.md']


@pytest.fixture(scope='module')
def ensemble(make_config):
    config = load_config(make_config(more=SMALL))
    own = dict(pa=dict(weight=0.5), lite=dict(), rgb=dict(cls_head=dict(dropout_ratio=0.1)))
    return config.merge_from_dict(dict(model=dict(type='PANEnsemble', streams=own))) or config


def test_an_ensemble_of_networks_of_timm_there_and_back(ensemble, videos, tmp_path):
    pytest.importorskip('timm')
    checkpoint = write_checkpoint(tmp_path, ensemble)
    save_pretrained(tmp_path / 'hub', ensemble, checkpoint)
    own, found = (
        PANInferencer(*model, device='cpu')(str(videos / '1.mp4'))[0]['top']
        for model in ((ensemble, checkpoint), (str(tmp_path / 'hub'),))
    )
    assert [top['score'] for top in found] == [top['score'] for top in own]


def test_the_pipeline_of_this_machine_stays_here(config, folder):
    data = json.loads((folder / 'config.json').read_text())
    changed = load_config(config)
    assert config_of(data, 'x').test_pipeline == changed.test_pipeline
    # The opener and the decoder, and what they are told, are the reader's own.
    changed.test_pipeline[0] = dict(type='DecordInit', io_backend='disk', num_threads=2)
    changed.test_pipeline[2] = dict(type='DecordDecode')
    changed.test_pipeline[-1].meta_keys = ('filename',)
    assert plain_config(changed) == data
    changed.test_pipeline.insert(3, dict(type='Flip', flip_ratio=0))
    with pytest.raises(PANError, match=r"test_pipeline.3 names 'Flip'"):
        plain_config(changed)


def test_every_stream_of_the_zoo_can_be_saved():
    for name in ('pan-en_r50_4x1x8_sthv2-rgb', 'pan-lite_r18_1xb16-4x1x8-30e_utd-mhad-depth'):
        config = config_of(plain_config(load_config(name)), name)
        assert MODELS.build(config.model) is not None
        assert config.test_pipeline[3].scale == (-1, 256 if 'en' in name[:6] else 128)


class TestUntrusted:
    @pytest.fixture
    def change(self, folder, tmp_path):
        """A repository whose config was changed at a place, opened."""
        shutil.copytree(folder, tmp_path / 'bad')
        path = tmp_path / 'bad' / 'config.json'

        def open_changed(place, value):
            data = json.loads((folder / 'config.json').read_text())
            *parents, last = place.split('.')
            node = data
            for key in parents:
                node = node[int(key) if isinstance(node, list) else key]
            node[int(last) if isinstance(node, list) else last] = value
            path.write_text(json.dumps(data))
            return open_hub(str(tmp_path / 'bad'))

        return open_changed

    @pytest.mark.parametrize(
        ('place', 'value', 'message'),
        [
            ('model.data_preprocessor', dict(type='os.system', command='x'), "names 'os.system'"),
            ('model.backbone.backbone.type', 'timm.create_model', 'which is not allowed'),
            ('model.backbone.backbone', dict(type='timm.x', checkpoint_path='/x'), 'not allowed'),
            ('model.backbone.backbone.pretrained', 'http://x/a.pth', 'has pretrained'),
            ('model.init_cfg', dict(type='Pretrained', checkpoint='x'), 'has init_cfg'),
            ('model._scope_', 'antigravity', 'has _scope_'),
            ('model.type', ['ResNet'], 'names'),
            ('model.cls_head', dict(type='ResNet', depth=18), "names 'ResNet'"),
            ('model.cls_head.loss_cls', [[dict(type='os.system')]], 'not a part'),
            ('model.cls_head.topk', [dict(type='os.system')], 'has topk'),
            ('model.cls_head.average_clips', '/etc/passwd', 'has average_clips'),
            ('model.cls_head.num_classes', 10**7, 'num_classes is out of bounds'),
            ('model.cls_head.num_classes', float('nan'), 'num_classes is out of bounds'),
            ('model.cls_head.num_classes', None, 'cannot be built'),
            ('model.data_preprocessor.mean', [0] * 10_001, 'mean is nested .*, or too long'),
            ('model.cls_head', {'loss_cls.type': 'os.system'}, 'has loss_cls.type'),
            ('test_pipeline.0.io_backend', 'memcached', 'has io_backend'),
            ('test_pipeline.0', 'VideoInit', "0 is 'VideoInit', not a part"),
            ('test_pipeline.1', dict(type='VideoDecode'), 'must sample frames once'),
            ('test_pipeline.1.num_clips', 1_025, 'has num_clips=1025'),
            ('model.cls_head.num_segments', 0, 'has num_segments=0'),
            ('test_pipeline.3.lazy', True, 'has lazy'),
            ('test_pipeline.3.scale', [-1, 'a'], 'has scale'),
            ('test_pipeline.3.scale', [-1, 50_000], 'pixels, which are out of bounds'),
            ('test_pipeline.5.input_format', 'NCTHW', 'has input_format'),
            ('test_pipeline', 3, 'must be a list of transforms'),
            ('custom_imports', dict(imports=['antigravity']), 'nothing else'),
        ],
    )
    def test_what_could_run_code_is_refused(self, place, value, message, change):
        with pytest.raises(PANError, match=message):
            change(place, value)

    @pytest.mark.parametrize('name', ['fasterrcnn_resnet50_fpn', 'fcn_resnet50', 'r3d_18'])
    def test_networks_of_torchvision_are_of_pictures_classes(self, name, change, monkeypatch):
        """Builders of the others may fetch weights, whatever their config says."""
        monkeypatch.setattr('torch.hub.download_url_to_file', None)
        for kind in (f'torchvision.{name}', f'torchvision/{name}'):
            with pytest.raises(PANError, match=f"names '{kind}', which is not a part .*") as caught:
                change('model.backbone.backbone', dict(type=kind))
            assert '\n' not in str(caught.value)
        with pytest.raises(CheckpointError, match='has the shape'):
            change('model.backbone.backbone', dict(type='torchvision.resnet50'))

    @pytest.mark.parametrize(
        ('stream', 'message'),
        [
            ({'cls_head.type': 'os.system'}, 'has cls_head.type'),
            (dict(cls_head=dict(type='os.system', command='x')), "names 'os.system'"),
            (dict(checkpoint='http://127.0.0.1/x.pth'), 'has checkpoint'),
            (dict(type='PANEnsemble', streams={}), 'has streams, type'),
            (dict(backbone=dict(backbone=dict(pretrained='/etc/passwd'))), 'has pretrained'),
            (dict(backbone=dict(backbone=dict(type='PANBackbone'))), "names 'PANBackbone'"),
            (dict(cls_head=dict(aggregation=[5])), 'aggregation is 5, not a part'),
            (3, 'must be a dict of dicts'),
        ],
    )
    def test_streams_are_written_out_before_they_are_checked(self, ensemble, stream, message):
        data = plain_config(ensemble)
        data['model']['streams']['pa'] = stream
        with pytest.raises(PANError, match=message):
            config_of(data, 'x')

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(streams={f's{i}': {} for i in range(17)}), 'streams are 17, more than 16'),
            (dict(streams={}), 'streams cannot be merged .*at least one stream'),
            (dict(init_cfg=dict(type='Pretrained', checkpoint='/x')), 'has init_cfg, which is not'),
        ],
    )
    def test_what_an_ensemble_may_not_have(self, ensemble, changes, message):
        data = plain_config(ensemble)
        data['model'].update(changes)
        with pytest.raises(PANError, match=message):
            config_of(data, 'x')

    def test_many_views(self, folder):
        data = json.loads((folder / 'config.json').read_text())
        data['test_pipeline'][4:5] = [dict(type='TenCrop', crop_size=64)] * 5
        with pytest.raises(PANError, match='pixels, which are out of bounds'):
            config_of(data, 'x')

    def test_nothing_larger_than_the_weights_is_built(self, change, folder):
        with pytest.raises(
            CheckpointError, match=r'cls_head.fc_cls.weight has the shape \[19, 512\]'
        ):
            change('model.cls_head.num_classes', 100_000)
        with pytest.raises(CheckpointError, match=r'layer1.* has the shape'):
            change('model.backbone.backbone.depth', 152)

    def test_a_large_or_deep_file(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / 'bad')
        path = tmp_path / 'bad' / 'config.json'
        path.write_text(f'{{"model": {"[" * 400}{"]" * 400}, "test_pipeline": {{}}}}')
        with pytest.raises(PANError, match='nested too deeply'):
            open_hub(str(tmp_path / 'bad'))
        path.write_text(' ' * 2**20 + '{}')
        with pytest.raises(PANError, match='has a too large config'):
            open_hub(str(tmp_path / 'bad'))

    def test_other_files(self, folder, tmp_path):
        with pytest.raises(PANError, match='no model is called'):
            get_model(str(tmp_path))
        (tmp_path / 'config.json').write_text('{"model": ' + '[' * 5000)
        with pytest.raises(PANError, match='has no model.safetensors'):
            get_model(str(tmp_path))
        (tmp_path / 'model.safetensors').write_bytes(b'x')
        with pytest.raises(PANError, match='config.json cannot be read'):
            get_model(str(tmp_path))
        for data in ([], dict(model={})):
            with pytest.raises(PANError, match='must hold model and test_pipeline'):
                config_of(data, 'x')

    def test_weights_of_another_model(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / 'other')
        (tmp_path / 'other' / 'model.safetensors').write_bytes(b'\x80\x04.')
        with pytest.raises(ValueError, match='model.safetensors'):
            get_model(str(tmp_path / 'other'), device='cpu')
