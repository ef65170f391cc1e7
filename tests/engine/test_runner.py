"""What ``CheckedRunner`` refuses, and where it goes on."""

from pathlib import Path

import pytest
import torch
from filelock import FileLock
from mmengine.runner import FlexibleRunner, Runner

from pan_mm.engine.runner import LOCK
from pan_mm.utils.checkpoint import cache_path, load_checkpoint_file
from pan_mm.utils.errors import CheckpointError, ConfigError, DataError, PANError
from pan_mm.utils.safetensors import save_safetensors

CHECKED = {'runner_type': 'CheckedRunner'}
SAVE = {
    'default_hooks.checkpoint': dict(type='SafeCheckpointHook', interval=1),
    'env_cfg': dict(cudnn_benchmark=False),  # which FlexibleRunner does not do without
}


@pytest.mark.parametrize('work', ['train', 'test'])
def test_nothing_starts_with_bad_data(make_runner, tmp_path, work):
    runner = make_runner(['0.mp4', 'gone.mp4', '1.mp4'], also=('test',), **CHECKED, **SAVE)
    with pytest.raises(DataError, match=rf'1 problem\(s\) found.*\n  {work}: .*gone.mp4'):
        getattr(runner, work)()
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_nothing_is_built_of_settings_that_nothing_takes(make_runner):
    change = {'model.cls_head.num_clases': 2, **CHECKED}
    with pytest.raises(ConfigError, match='model.cls_head.num_clases: .* the nearest: num_classes'):
        make_runner(**change)
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        make_runner(**change, preflight=False).train()


def test_other_runners_stay_as_they_are():
    for runner in (Runner, FlexibleRunner):
        assert runner.from_cfg.__func__.__qualname__ == f'{runner.__name__}.from_cfg'
        assert runner.train.__module__ == runner.test.__module__ == runner.__module__
        assert not hasattr(runner.train, '__wrapped__')


def test_a_test_needs_every_weight(make_runner, tmp_path):
    state = make_runner().model.state_dict()
    state.pop('cls_head.fc_cls.bias')
    torch.save(dict(state_dict=state), tmp_path / 'part.pth')
    changes = dict(load_from=str(tmp_path / 'part.pth'), **CHECKED)
    with pytest.raises(RuntimeError, match='cls_head.fc_cls.bias'):
        make_runner(also=('test',), **changes).test()
    runner = make_runner(**changes)  # a training may start from it
    runner.load_or_resume()
    weight = runner.model.state_dict()['backbone.0.weight']
    assert torch.equal(weight, state['backbone.0.weight'])


@pytest.fixture
def evil(make_runner, tmp_path):
    """A checkpoint after an epoch whose config, plain text, writes the file ``code-ran``."""

    def make(runner_type):
        make_runner(runner_type=runner_type, **SAVE, **{'train_cfg.max_epochs': 1}).train()
        checkpoint = load_checkpoint_file(tmp_path / 'work' / 'epoch_1.pth')
        text = f'x = __import__("pathlib").Path({str(tmp_path / "code-ran")!r}).touch()'
        checkpoint['meta'].update(cfg=text, config=text)
        checkpoint['message_hub']['runtime_info']['cfg'] = text
        torch.save(checkpoint, tmp_path / 'evil.pth')
        return str(tmp_path / 'evil.pth')

    return make


@pytest.mark.parametrize('runner_type', ['CheckedRunner', 'FlexibleRunner'])
def test_the_config_in_a_checkpoint_is_not_run(make_runner, evil, tmp_path, runner_type):
    runner = make_runner(resume=True, load_from=evil(runner_type), runner_type=runner_type, **SAVE)
    runner.train()
    assert runner.epoch == 2 and not (tmp_path / 'code-ran').exists()
    assert load_checkpoint_file(tmp_path / 'evil.pth')['meta']['cfg'].startswith('x = __import__')


def test_safetensors_start_a_training_but_resume_none(make_runner, tmp_path):
    weights = make_runner(folder=tmp_path / 'first').model.state_dict()
    weights = {name: weight + 1 for name, weight in weights.items()}
    save_safetensors(tmp_path / 'a.safetensors', weights, torch.float16)
    changes = dict(load_from=str(tmp_path / 'a.safetensors'), **CHECKED, **SAVE)
    runner = make_runner(**changes, **{'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0})
    runner.train()
    for name, parameter in runner.model.named_parameters():
        assert torch.equal(parameter, weights[name].half().float()), name
    with pytest.raises(CheckpointError, match='a.safetensors holds no state of a training'):
        make_runner(resume=True, folder=tmp_path / 'other', **changes).train()


@pytest.mark.parametrize(
    'change',
    [
        lambda c: c['meta'].update(epoch='1'),
        lambda c: c.update(optimizer=dict(state={}, param_groups=[])),
        lambda c: c['message_hub']['runtime_info'].update(keep_ckpt_ids=['../x']),
        lambda c: c['state_dict'].pop('cls_head.fc_cls.bias'),
        lambda c: c['state_dict'].update({'cls_head.fc_cls.weight': torch.zeros(3, 512)}),
        lambda c: c['optimizer']['state'].update(
            {0: dict(momentum_buffer=torch.full((512, 3, 7, 7), float('nan')))}
        ),
    ],
)
def test_what_no_training_can_be_resumed_from(make_runner, tmp_path, change):
    make_runner(**CHECKED, **SAVE, **{'train_cfg.max_epochs': 1}).train()
    checkpoint = load_checkpoint_file(tmp_path / 'work' / 'epoch_1.pth')
    change(checkpoint)
    torch.save(checkpoint, tmp_path / 'odd.pth')
    runner = make_runner(resume=True, load_from=str(tmp_path / 'odd.pth'), **CHECKED)
    with pytest.raises(CheckpointError, match=r'odd\.pth'):
        runner.train()


def test_classes_keep_their_order(make_runner, tmp_path, log):
    """With another order every label would mean another class, and all shapes would fit."""

    def train(*classes, **changes):
        names = {'train_dataloader.dataset.metainfo': dict(classes=classes)}
        make_runner(**CHECKED, **SAVE, **names, **changes).train()

    train('clap', 'wave', **{'train_cfg.max_epochs': 1})
    for each in ('Command: python ', 'pan_mm: ', 'MMAction2: ', 'Processor: ', 'Threads: '):
        assert each in log()
    with pytest.raises(CheckpointError, match=r"epoch_1.pth .*\('clap', 'wave'\), which differ"):
        train('wave', 'clap', resume=True)
    train('clap', 'wave', resume=True)
    assert 'which differ in names or order' not in log()
    train('wave', 'clap', load_from=str(tmp_path / 'work' / 'epoch_2.pth'))
    assert 'which differ in names or order' in log()


def test_a_second_training_is_kept_out_of_a_work_dir(make_runner, tmp_path):
    (tmp_path / 'work').mkdir()
    with FileLock(tmp_path / 'work' / LOCK):
        with pytest.raises(PANError, match='work: another training is writing here'):
            make_runner(**CHECKED).train()
        assert not list((tmp_path / 'work').glob('*.pth'))


def test_no_password_is_written(make_runner, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    address = 'http://127.0.0.1:1/a.pth?token=HUNTER2'
    kept = Path(cache_path(address))
    kept.parent.mkdir(parents=True)
    state = {name: weight + 1 for name, weight in make_runner().model.state_dict().items()}
    torch.save(dict(state_dict=state), kept)
    make_runner(load_from=address, **CHECKED, **SAVE).train()
    files = [path for path in (tmp_path / 'work').rglob('*') if path.is_file()]
    assert any(path.suffix == '.pth' for path in files)
    assert any(b'token=***' in path.read_bytes() for path in files)
    assert [path for path in files if b'HUNTER2' in path.read_bytes()] == []
    assert 'HUNTER2' not in ''.join(capfd.readouterr())
