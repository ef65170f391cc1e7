import os
from inspect import unwrap

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import utils as dist_utils
from mmengine.fileio import LocalBackend
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPERS, DefaultScope

from pan_mm.compat import mmengine as repairs

no_accelerator = pytest.mark.skipif(torch.cuda.is_available(), reason='there is an accelerator')


class TestWholeFiles:
    def test_what_was_there_stays_when_writing_fails(self, tmp_path):
        path = tmp_path / 'epoch_1.pth'
        LocalBackend().put(b'old', str(path))
        with pytest.raises(TypeError):
            LocalBackend().put('no bytes', str(path))
        assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]
        LocalBackend().put_text('new', str(path))
        assert path.read_text() == 'new'
        LocalBackend().put(b'new', str(tmp_path / 'a' / 'b' / 'file'))
        assert (tmp_path / 'a' / 'b' / 'file').read_bytes() == b'new'


@no_accelerator
def test_amp_is_bfloat16_without_scaling():
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = dict(loss_scale='dynamic', dtype='float16', clip_grad=dict(max_norm=100.0))
    wrapper = OPTIM_WRAPPERS.build(dict(type='AmpOptimWrapper', optimizer=optimizer, **options))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        output = model(torch.ones(2, 3))
    wrapper.update_params(output.float().sum())
    assert output.dtype == torch.bfloat16
    # The gradient of the sum over two rows of ones is 2.
    torch.testing.assert_close(model.weight.detach(), before - 0.1 * 2)


@no_accelerator
class TestProcesses:
    @pytest.fixture
    def environment(self, monkeypatch, tmp_path):
        values = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='localhost')
        values['MASTER_PORT'] = 0  # any free one
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        yield
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def test_the_launcher_uses_gloo(self, environment, upstream_fault):
        with upstream_fault('gloo-on-cpu', Exception, '(?i)cuda|nvidia|nccl'):
            unwrap(dist_utils._init_dist_pytorch)(backend='nccl')
        set_device = torch.cuda.set_device
        dist_utils.init_dist('pytorch')
        assert torch.distributed.get_backend() == 'gloo'
        assert torch.cuda.set_device is set_device

    def test_wrapped_model(self, environment, upstream_fault):
        dist_utils.init_dist('pytorch')
        model = MMDistributedDataParallel(module=torch.nn.Linear(2, 1), device_ids=[0])
        assert model.device_ids is None
        upstream = object.__new__(MMDistributedDataParallel)
        with upstream_fault('ddp-on-cpu', ValueError, 'device_ids'):
            unwrap(MMDistributedDataParallel.__init__)(
                upstream, module=torch.nn.Linear(2, 1), device_ids=[0]
            )


class TestPackages:
    @pytest.mark.parametrize('name', ['mmaction2', 'mmaction'])
    def test_path(self, name):
        import mmaction

        assert repairs.get_installed_path(name) == os.path.dirname(mmaction.__file__)

    @pytest.mark.slow
    def test_base_config_without_pkg_resources(self, python, tmp_path, upstream_fault):
        (tmp_path / 'config.py').write_text("_base_ = 'mmaction::_base_/models/tsn_r50.py'")
        hide = (
            'import sys, importlib.util\n'
            'find_spec = importlib.util.find_spec\n'
            'importlib.util.find_spec = lambda name, package=None: (\n'
            '    None if name == "pkg_resources" else find_spec(name, package))\n'
            'class Absent:\n'
            '    def find_spec(self, name, path=None, target=None):\n'
            '        if name == "pkg_resources": raise ModuleNotFoundError(name)\n'
            'sys.meta_path.insert(0, Absent())\n'
        )
        load = (
            'from mmengine.config import Config\n'
            f'print(Config.fromfile({str(tmp_path / "config.py")!r}).model.type)\n'
        )
        repaired = python(f'{hide}import mmengine.config\nimport pan_mm\n{load}')
        assert repaired.stdout.strip() == 'Recognizer2D', repaired.stderr
        with upstream_fault('package-look-up', AssertionError, 'pkg_resources'):
            upstream = python(hide + load)
            assert upstream.returncode == 0, upstream.stderr


def test_base_config_of_the_scope_builds(tmp_path, monkeypatch):
    """A training that inherits from ``pan_mm::`` builds MMAction2's parts."""
    base = tmp_path / '.mim' / 'configs' / '_base_'
    base.mkdir(parents=True)
    (tmp_path / '.mim' / 'model-index.yml').write_text('Import: []')
    (tmp_path / 'list.txt').write_text('a.mp4 0\n')
    (base / 'tiny.py').write_text(
        "model = dict(type='ResNet', depth=18, pretrained=None)\n"
        f"dataset = dict(type='VideoDataset', ann_file='{tmp_path}/list.txt', pipeline=[])\n"
    )
    (tmp_path / 'config.py').write_text("_base_ = 'pan_mm::_base_/tiny.py'")
    monkeypatch.setattr('mmengine.config.config.is_installed', lambda name: True)
    monkeypatch.setattr('mmengine.config.config.get_installed_path', lambda name: str(tmp_path))
    config = Config.fromfile(tmp_path / 'config.py')
    with DefaultScope.overwrite_default_scope('mmaction'):
        assert config.model._scope_ == 'pan_mm'
        assert type(MODELS.build(config.model)).__name__ == 'ResNet'
        assert len(DATASETS.build(config.dataset)) == 1
