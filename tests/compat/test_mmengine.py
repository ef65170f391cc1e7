import os
import sys
from inspect import unwrap

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import utils as dist_utils
from mmengine.fileio import LocalBackend
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import OPTIM_WRAPPERS

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

    def test_upstream_writes_in_place(self, tmp_path, upstream_fault):
        path = tmp_path / 'epoch_1.pth'
        path.write_bytes(b'old')
        with pytest.raises(TypeError):
            unwrap(LocalBackend.put)(LocalBackend(), 'no bytes', str(path))
        with upstream_fault('whole-files', AssertionError):
            assert path.read_bytes() == b'old'

    def test_links_and_new_folders(self, tmp_path):
        (tmp_path / 'link.pth').symlink_to(tmp_path / 'real.pth')
        LocalBackend().put(b'new', str(tmp_path / 'link.pth'))
        assert (tmp_path / 'link.pth').is_symlink()
        assert (tmp_path / 'real.pth').read_bytes() == b'new'
        LocalBackend().put(b'new', str(tmp_path / 'a' / 'b' / 'file'))
        assert (tmp_path / 'a' / 'b' / 'file').read_bytes() == b'new'

    def test_a_device_is_no_file_to_replace(self):
        LocalBackend().put(b'new', os.devnull)
        assert not os.path.isfile(os.devnull)


@no_accelerator
class TestAmpOnCPU:
    def build(self, **kwargs):
        self.model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        return OPTIM_WRAPPERS.build(dict(type='AmpOptimWrapper', optimizer=optimizer, **kwargs))

    def step(self, wrapper):
        with wrapper.optim_context(self.model):
            output = self.model(torch.ones(2, 3))
        wrapper.update_params(output.float().sum())
        return output

    @pytest.mark.parametrize('loss_scale', ['dynamic', 512.0, dict(init_scale=64.0)])
    def test_bfloat16_without_scaling(self, loss_scale):
        wrapper = self.build(loss_scale=loss_scale, clip_grad=dict(max_norm=100.0))
        before = self.model.weight.detach().clone()
        assert self.step(wrapper).dtype == torch.bfloat16
        # The gradient of the sum over two rows of ones is 2.
        torch.testing.assert_close(self.model.weight.detach(), before - 0.1 * 2)

    @pytest.mark.parametrize('dtype', ['float16', 'bfloat16', None, torch.float16])
    def test_any_dtype_of_a_config_runs(self, dtype):
        assert self.step(self.build(dtype=dtype)).dtype == torch.bfloat16

    def test_state_goes_round(self):
        wrapper = self.build()
        self.step(wrapper)
        self.build().load_state_dict(wrapper.state_dict())

    def test_state_from_a_gpu_run(self):
        wrapper = self.build()
        scaler = dict(scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000)
        wrapper.load_state_dict({**wrapper.state_dict(), 'loss_scaler': scaler})

    def test_upstream_asserts_an_accelerator(self, upstream_fault):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        with upstream_fault('amp-on-cpu', AssertionError, 'only available training on gpu'):
            amp_optimizer_wrapper.AmpOptimWrapper(optimizer=optimizer)


@no_accelerator
class TestProcesses:
    @pytest.fixture
    def environment(self, monkeypatch, tmp_path):
        values = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, SLURM_PROCID=0, SLURM_NTASKS=1)
        values.update(SLURM_LOCALID=0, SLURM_NODELIST='localhost', MASTER_ADDR='localhost')
        values.update(OMPI_COMM_WORLD_LOCAL_RANK=0, OMPI_COMM_WORLD_SIZE=1)
        values.update(OMPI_COMM_WORLD_RANK=0, MASTER_PORT=0)  # any free one
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        yield
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
    def test_launchers_use_gloo(self, environment, launcher):
        set_device = torch.cuda.set_device
        dist_utils.init_dist(launcher)
        assert torch.distributed.get_backend() == 'gloo'
        assert torch.cuda.set_device is set_device

    @pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
    def test_launchers_fail_upstream(self, environment, launcher, upstream_fault):
        init = unwrap(getattr(dist_utils, f'_init_dist_{launcher}'))
        with upstream_fault('gloo-on-cpu', Exception, '(?i)cuda|nvidia|nccl'):
            init(backend='nccl')

    def test_wrapped_model(self, environment, upstream_fault):
        dist_utils.init_dist('pytorch')
        model = MMDistributedDataParallel(module=torch.nn.Linear(2, 1), device_ids=[0])
        assert model.device_ids is None
        upstream = object.__new__(MMDistributedDataParallel)
        with upstream_fault('ddp-on-cpu', ValueError, 'device_ids'):
            unwrap(MMDistributedDataParallel.__init__)(
                upstream, module=torch.nn.Linear(2, 1), device_ids=[0]
            )

    def test_optimizer_state_of_fsdp(self, environment, upstream_fault):
        from mmengine._strategy.fsdp import FSDP, FSDPStrategy

        dist_utils.init_dist('pytorch')
        model = FSDP(torch.nn.Linear(2, 1), device_id=torch.device('cpu'))
        strategy = object.__new__(FSDPStrategy)
        strategy.model = model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        strategy.optim_wrapper = OptimWrapper(optimizer)
        strategy.optim_wrapper.update_params(model(torch.ones(1, 2)).sum())
        state = FSDP.optim_state_dict(model, optimizer)
        (momentum,) = (values['momentum_buffer'].clone() for values in optimizer.state.values())
        optimizer.state.clear()
        strategy.load_optim_state_dict(state)
        (loaded,) = (values['momentum_buffer'] for values in optimizer.state.values())
        assert torch.equal(loaded, momentum) and momentum.abs().sum() > 0
        with upstream_fault('fsdp-resume', TypeError):
            unwrap(FSDPStrategy.load_optim_state_dict)(strategy, state)


class TestPackages:
    def test_installed(self):
        assert repairs.is_installed('mmaction2') and repairs.is_installed('mmaction')
        assert not repairs.is_installed('no_such_package')

    @pytest.mark.parametrize('name', ['mmaction2', 'mmaction'])
    def test_path(self, name):
        import mmaction

        assert repairs.get_installed_path(name) == os.path.dirname(mmaction.__file__)

    def test_path_of_nothing(self):
        with pytest.raises(ModuleNotFoundError, match='no_such_package'):
            repairs.get_installed_path('no_such_package')

    @pytest.mark.slow
    @pytest.mark.parametrize('first', ['pan_mm', 'mmengine.config'])
    def test_base_config_without_pkg_resources(self, python, tmp_path, first, upstream_fault):
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
        repaired = python(f'{hide}import {first}\nimport pan_mm\n{load}')
        assert repaired.stdout.strip() == 'Recognizer2D', repaired.stderr
        with upstream_fault('package-look-up', AssertionError, 'pkg_resources'):
            upstream = python(hide + load)
            assert upstream.returncode == 0, upstream.stderr

    @pytest.mark.slow
    def test_editable_install(self, python, tmp_path, upstream_fault):
        """Metadata in one folder, as pip leaves it in site-packages, code in another."""
        info = tmp_path / 'pan_mm-0.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: pan_mm\nVersion: 0.0\n')
        (info / 'top_level.txt').write_text('pan_mm\n')
        find = 'from mmengine.utils import get_installed_path; print(get_installed_path("pan_mm"))'
        # Away from the project's folder, whose own metadata would be found first.
        place = dict(path=[tmp_path], cwd=tmp_path)
        repaired = python(f'import pan_mm; {find}', **place)
        import pan_mm

        assert repaired.stdout.strip() == os.path.dirname(pan_mm.__file__), repaired.stderr
        with upstream_fault('package-look-up', AssertionError):
            assert python(find, **place).stdout == repaired.stdout


class TestScope:
    def test_base_config_of_the_scope_builds(self, tmp_path, monkeypatch):
        """A training that inherits from ``pan_mm::`` builds MMAction2's parts."""
        from mmengine.registry import DATASETS, MODELS, DefaultScope

        package = tmp_path / 'package'
        base = package / '.mim' / 'configs' / '_base_'
        base.mkdir(parents=True)
        (package / '.mim' / 'model-index.yml').write_text('Import: []')
        (base / 'tiny.py').write_text(
            "model = dict(type='ResNet', depth=18, pretrained=None)\n"
            "dataset = dict(type='VideoDataset', ann_file='list.txt', pipeline=[])\n"
        )
        (tmp_path / 'config.py').write_text(
            "_base_ = 'pan_mm::_base_/tiny.py'\ndefault_scope = 'mmaction'\n"
        )
        (tmp_path / 'list.txt').write_text('a.mp4 0\n')
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr('mmengine.config.config.is_installed', lambda name: True)
        monkeypatch.setattr('mmengine.config.config.get_installed_path', lambda name: str(package))
        config = Config.fromfile('config.py')
        with DefaultScope.overwrite_default_scope('mmaction'):
            assert config.model._scope_ == 'pan_mm'
            assert type(MODELS.build(config.model)).__name__ == 'ResNet'
            assert len(DATASETS.build(config.dataset)) == 1

    def test_name_is_known(self):
        assert sys.modules['mmengine.config.utils'].MODULE2PACKAGE['pan_mm'] == 'pan_mm'
