"""Weights handed on, as safetensors and as a checkpoint, taken wherever a checkpoint goes."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from safetensors import safe_open

from builders import tiny_config
from pan_mm.apis import PANInferencer
from pan_mm.cli import main
from pan_mm.deploy.export.exporter import export
from pan_mm.inference.calibration import calibrate
from pan_mm.inference.recognizer import load_config
from pan_mm.utils.checkpoint import load_checkpoint_file
from pan_mm.utils.errors import CheckpointError

NAMES = [f'"class" {i}' for i in range(19)]


@pytest.fixture(scope='module')
def exported(config, make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    (folder / 'labels.txt').write_text('\n'.join(NAMES))
    checkpoint = make_checkpoint(config)
    command = ['export', '--config', config, '--checkpoint', checkpoint]
    command += ['--out', folder / 'pan.safetensors', '--label-map', folder / 'labels.txt']
    assert main(list(map(str, command))) == 0
    return checkpoint, folder / 'pan.safetensors'


def test_what_is_in_it(exported, config):
    checkpoint, path = exported
    with safe_open(path, 'pt') as file:
        texts, names = file.metadata(), set(file.keys())
    assert json.loads(texts['classes']) == NAMES
    assert json.loads(texts['mean']) == pytest.approx([123.675, 116.28, 103.53], rel=1e-6)
    assert json.loads(texts['std']) == pytest.approx([58.395, 57.12, 57.375], rel=1e-6)
    assert texts['config'] == load_config(config).pretty_text
    assert names == set(load_checkpoint_file(checkpoint)['state_dict'])


class TestPublish:
    @pytest.fixture(scope='class')
    def trained(self, videos, tmp_path_factory):
        """The checkpoint of an epoch, of MMEngine's runner."""
        folder = tmp_path_factory.mktemp('trained')
        names = [f'{index}.mp4' for index in range(4)]
        hooks = [dict(type='EMAHook')]
        cfg = tiny_config(folder, videos, names, also=['test'], custom_hooks=hooks)
        cfg.train_cfg.max_epochs = 1
        cfg.default_hooks.checkpoint.interval = 1
        cfg.train_dataloader.dataset.metainfo = dict(classes=['still', 'moving'])
        runner = Runner.from_cfg(cfg)
        runner.train()
        cfg.dump(folder / 'config.py')
        return folder / 'work' / 'epoch_1.pth', folder / 'config.py'

    @pytest.fixture
    def publish(self, capsys):
        def run(*words):
            status = main(['publish', *map(str, words)])
            output = capsys.readouterr()
            return Path(output.out.partition(': ')[0]) if status == 0 else output.err

        return run

    def test_what_is_not_finite(self, trained, publish, tmp_path):
        (checkpoint, config), weight = trained, 'backbone.1.running_var'
        state = load_checkpoint_file(checkpoint)
        state['state_dict'][weight][0] = float('inf')
        path = tmp_path / 'inf.pth'
        torch.save(state, path)
        for more in ([], ['--config', config]):
            said = publish(path, '--out', tmp_path / 'pan.pth', *more)
            assert f'inf.pth: {weight} is NaN or infinite' in said
        for suffix in ('safetensors', 'onnx'):
            with pytest.raises(CheckpointError, match=rf'inf.pth: \S*{weight} is NaN or infinite'):
                export(config, path, tmp_path / f'pan.{suffix}')
        assert [file.name for file in tmp_path.iterdir()] == ['inf.pth']

    def test_epoch_checkpoint(self, trained, publish, videos, tmp_path):
        checkpoint, config = trained
        path = publish(checkpoint, '--out', tmp_path / 'pan.pth')
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path == tmp_path / f'pan-{digest[:8]}.pth'
        assert torch.hub.HASH_REGEX.search(path.name)[1] == digest[:8]
        before, after = load_checkpoint_file(checkpoint), torch.load(path, weights_only=True)
        assert {'optimizer', 'message_hub', 'ema_state_dict'} <= before.keys()
        assert after.keys() == {'state_dict', 'meta'}
        assert 'work_dir' in before['meta']['cfg'] and "type='Recognizer2D'" in after['meta']['cfg']
        assert str(checkpoint.parent) not in after['meta']['cfg']
        assert after['meta']['dataset_meta'] == dict(classes=['still', 'moving'])
        for name, weight in before['state_dict'].items():
            assert torch.equal(after['state_dict'][name], weight), name
        assert 'is there already' in publish(checkpoint, '--out', tmp_path / 'pan.pth')
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    def test_calibrated(self, trained, publish, videos, tmp_path):
        rng = np.random.default_rng(0)
        samples = [
            dict(pred_score=torch.from_numpy(rng.dirichlet([1, 1])), gt_label=torch.tensor([i % 2]))
            for i in range(40)
        ]
        (tmp_path / 'scores.pkl').write_bytes(pickle.dumps(samples, 2))
        path = publish(trained[0], '--calibrate', tmp_path / 'scores.pkl')
        own = load_checkpoint_file(path)['meta']['dataset_meta']['calibration']
        assert own == calibrate(tmp_path / 'scores.pkl')._asdict()
        again = publish(path, '--out', tmp_path / 'again.pth', '--half')
        assert again.stat().st_size < 0.6 * path.stat().st_size
        export(trained[1], again, tmp_path / 'pan.safetensors')
        for each in (path, again, tmp_path / 'pan.safetensors'):
            inferencer = PANInferencer(trained[1], each, 'cpu')
            assert inferencer.calibration._asdict() == pytest.approx(own)
            (result,) = inferencer(videos / '0.mp4')
            assert result['unsure'] == (result['top'][0]['score'] < own['threshold'])

    def test_what_does_not_fit(self, checkpoint, make_config, publish, tmp_path):
        out = tmp_path / 'pan.pth'
        assert 'does not fit' in publish(
            checkpoint, '--config', make_config(num_classes=7), '--out', out
        )
        assert 'must end in .pth' in publish(checkpoint, '--out', tmp_path / 'a.safetensors')
        state = dict(state_dict={'a': torch.tensor([1e5])}, meta=dict(cfg=''))
        torch.save(state, tmp_path / 'large.pth')
        said = publish(tmp_path / 'large.pth', '--half')
        assert 'a has values that torch.float16 cannot hold' in said
        assert [file.name for file in tmp_path.iterdir()] == ['large.pth']
