"""The doctor, each time in a real environment that has, or lacks, the real thing."""

import fnmatch
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Environment:
    """A virtual environment made of links to this one's packages.

    ``without`` are patterns of entries of site-packages that are left out.
    """

    def __init__(self, folder, without=()):
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / 'bin' / 'python'
        (self.site_packages,) = folder.glob('lib/python*/site-packages')
        for entry in Path(sysconfig.get_path('purelib')).iterdir():
            if not any(fnmatch.fnmatch(entry.name.lower(), pattern) for pattern in without):
                (self.site_packages / entry.name).symlink_to(entry)

    def add(self, name, version, code=None, requires=()):
        """Install a distribution, with a module of ``code`` if given."""
        info = self.site_packages / f'{name.replace("-", "_")}-{version}.dist-info'
        info.mkdir()
        lines = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}']
        lines += [f'Requires-Dist: {line}' for line in requires]
        (info / 'METADATA').write_text('\n'.join(lines) + '\n')
        if code is not None:
            (self.site_packages / name).mkdir()
            (self.site_packages / name / '__init__.py').write_text(code)

    def run(self, *arguments):
        env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS='ignore')
        return subprocess.run(
            [self.python, *arguments], env=env, cwd='/', capture_output=True, text=True
        )

    def doctor(self):
        return self.run('-m', 'pan_mm', 'doctor')


@pytest.fixture
def environment(tmp_path):
    return lambda **kwargs: Environment(tmp_path / 'venv', **kwargs)


@pytest.mark.slow
class TestFaults:
    def test_no_mmcv(self, environment):
        env = environment(without=['mmcv*'])
        result = env.doctor()
        assert result.returncode == 1
        assert 'FAULT: mmcv is not installed' in result.stdout
        assert 'mmcv-lite>=2.1.0,<2.2' in result.stdout
        assert 'mmengine ' in result.stdout  # the versions are printed all the same
        result = env.run('-c', 'import pan_mm')
        assert result.returncode == 1
        assert 'mmcv-lite' in result.stderr.splitlines()[-1]

    def test_mmcv_of_an_unsupported_version(self, environment):
        env = environment(without=['mmcv*'])
        env.add('mmcv', '2.2.0', code="__version__ = '2.2.0'")
        result = env.doctor()
        assert result.returncode == 1
        assert 'FAULT: mmcv 2.2.0: MMAction2 1.2 needs mmcv >= 2.0, < 2.2' in result.stdout

    def test_no_torch(self, environment):
        result = environment(without=['torch', 'torch-*', 'functorch', 'torchgen']).doctor()
        assert result.returncode == 1
        assert 'FAULT: torch is not installed' in result.stdout

    def test_mmaction2_itself_missing(self, environment):
        result = environment(without=['mmaction*']).doctor()
        assert result.returncode == 1
        assert 'FAULT: mmaction is not installed' in result.stdout
        assert 'pip install "mmaction2>=1.2.0,<2"' in result.stdout

    def test_opencv_without_its_system_library(self, environment):
        env = environment(without=['cv2'])
        env.add('cv2', '5', code="raise ImportError('libGL.so.1: cannot open shared object file')")
        result = env.doctor()
        assert result.returncode == 1
        assert 'apt install libgl1' in result.stdout


@pytest.mark.slow
class TestWarnings:
    def test_healthy(self, environment):
        result = environment().doctor()
        assert result.returncode == 0, result.stdout + result.stderr
        assert 'Training works' in result.stdout
        assert 'FAULT' not in result.stdout

    def test_all_that_training_survives(self, environment):
        replaced = ['torchvision*', 'decord*', 'openmim*', 'openxlab*', 'pip', 'moviepy-*']
        replaced += ['setuptools', 'setuptools-*', 'pkg_resources', 'mmcv-*']
        env = environment(without=[*replaced, 'pip-*'])
        message = 'operator torchvision::nms does not exist'
        env.add('torchvision', '0.1', code=f'raise RuntimeError({message!r})')
        env.add('pip', '23.2.1')
        env.add('openmim', '0.3.9')
        env.add('openxlab', '0.1.2', requires=['setuptools~=60.2.0'])
        env.add('setuptools', '82.0.0')
        env.add('moviepy', '2.1.1')
        env.add('mmcv', '2.1.0')
        result = env.doctor()
        assert result.returncode == 0, result.stdout + result.stderr
        warnings = [line[9:] for line in result.stdout.splitlines() if line[:8] == 'WARNING:']
        for start in (
            'mmcv and mmcv-lite are both installed',
            'setuptools 82.0.0 has no pkg_resources',
            'torchvision 0.1 does not fit torch',
            'decord, the decoder of the configs',
            'moviepy 2.1.1 has no moviepy.editor',
            'pip 23.2.1',
            'openxlab 0.1.2, which mim brings',
            'openxlab 0.1.2 wants setuptools~=60.2.0, and 82.0.0 is there',
        ):
            assert any(line.startswith(start) for line in warnings), (start, warnings)


class TestCommandLine:
    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, '-m', 'pan_mm', *arguments], capture_output=True, text=True, cwd=ROOT
        )

    def test_no_such_command(self):
        result = self.run('docter')
        assert result.returncode == 2
        assert "invalid choice: 'docter'" in result.stderr

    def test_version(self):
        import pan_mm

        assert self.run('--version').stdout == f'pan_mm {pan_mm.__version__}\n'
