"""Missing and broken packages, each before a process that has none of it."""

import pytest

from pan_mm.compat.requirements import check


def test_an_old_torch(monkeypatch):
    monkeypatch.setattr('importlib.metadata.version', lambda package: '2.5.1+cpu')
    with pytest.raises(ImportError, match=r'needs torch>=2.6, but 2.5.1\+cpu is installed'):
        check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('module', 'fixes'),
    [
        ('mmcv', ['"mmcv-lite>=2.1,<2.2"', 'mim install']),
        ('torch', ['https://pytorch.org']),
    ],
)
def test_import_without(python, module, fixes):
    hide = (
        'import importlib.util as util; find = util.find_spec; '
        f'util.find_spec = lambda name, package=None: None if name == {module!r} '
        'else find(name, package); import pan_mm'
    )
    error = python(hide).stderr.splitlines()[-1]
    assert error.startswith(f'ModuleNotFoundError: pan_mm needs the package {module!r}')
    assert all(fix in error for fix in fixes)


@pytest.mark.slow
class TestTorchvision:
    dump = 'from mmengine.utils.dl_utils import collect_env; print(collect_env()["OpenCV"])'

    def test_operators_that_are_missing_are_declared(self, python, tmp_path):
        folder = tmp_path / 'torchvision'
        folder.mkdir()
        register = '@torch.library.register_fake("torchvision::{}")\ndef {}(x): return x\n'
        operators = ''.join(register.format(name, name) for name in ('nms', 'qnms'))
        (folder / '_meta_registrations.py').write_text(f'import torch\n{operators}')
        (folder / '__init__.py').write_text(
            'from . import _meta_registrations as meta\n__version__ = "1.0"\n'
        )
        script = 'import torchvision as t; print(t.__version__, callable(t.meta.qnms))'
        result = python(f'import pan_mm; {self.dump}; {script}', path=[tmp_path])
        assert result.stdout.split()[1:] == ['1.0', 'True'], result.stderr
        assert 'operator torchvision::nms does not exist' in python(script, path=[tmp_path]).stderr
