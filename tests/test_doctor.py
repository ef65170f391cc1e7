"""The doctor, each time in a real environment that has, or lacks, the real thing."""

from pathlib import Path

import pytest

import pan_mm
from pan_mm.cli import main

ROOT = Path(__file__).resolve().parents[1]


def add(environment, name, version, code=None):
    """Install a distribution, with a module of ``code`` if given."""
    info = environment.site_packages / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    if code is not None:
        (environment.site_packages / name).mkdir()
        (environment.site_packages / name / '__init__.py').write_text(code)


def doctor(environment):
    return environment.run('-m', 'pan_mm', 'doctor', PYTHONPATH=str(ROOT))


@pytest.mark.slow
class TestFaults:
    def test_no_mmcv(self, linked_environment):
        env = linked_environment(without=['mmcv*'])
        result = doctor(env)
        assert result.returncode == 1
        assert "FAULT: pan_mm needs the package 'mmcv', which is not installed" in result.stdout
        assert 'pip install "mmcv-lite>=2.1,<2.2"' in result.stdout
        assert 'mmengine ' in result.stdout  # the versions are printed all the same
        result = env.run('-c', 'import pan_mm', PYTHONPATH=str(ROOT))
        assert result.returncode == 1
        assert 'mmcv-lite' in result.stderr.splitlines()[-1]

    def test_mmcv_of_an_unsupported_version(self, linked_environment):
        env = linked_environment(without=['mmcv*'])
        add(env, 'mmcv', '2.2.0', code="__version__ = '2.2.0'")
        result = doctor(env)
        assert result.returncode == 1
        assert 'FAULT: pan_mm needs mmcv>=2.0.0rc4,<2.2.0, but 2.2.0 is installed' in result.stdout
        assert 'cannot work: 1 fault,' in result.stdout  # not MMAction2's as well

    def test_no_torch(self, linked_environment):
        result = doctor(linked_environment(without=['torch', 'torch-*', 'functorch', 'torchgen']))
        assert result.returncode == 1
        assert "FAULT: pan_mm needs the package 'torch'" in result.stdout

    def test_mmaction2_itself_missing(self, linked_environment):
        result = doctor(linked_environment(without=['mmaction*']))
        assert result.returncode == 1
        assert "FAULT: pan_mm needs the package 'mmaction'" in result.stdout
        assert 'pip install "mmaction2>=1.2.0' in result.stdout

    def test_a_bare_environment(self, linked_environment):
        result = doctor(linked_environment(without=['mmengine*', 'mmaction*', 'mmcv*', 'rich*']))
        assert result.returncode == 1
        assert result.stdout.startswith('Versions\n  python  3')
        assert "FAULT: pan_mm needs the package 'mmengine'" in result.stdout
        assert 'Traceback' not in result.stderr

    def test_opencv_without_its_system_library(self, linked_environment):
        env = linked_environment(without=['cv2'])
        add(env, 'cv2', '5', code="raise ImportError('libGL.so.1: cannot open shared object file')")
        result = doctor(env)
        assert result.returncode == 1
        assert 'apt install libgl1' in result.stdout


@pytest.mark.slow
class TestWarnings:
    def test_healthy(self, linked_environment):
        result = doctor(linked_environment())
        assert result.returncode == 0, result.stdout + result.stderr
        assert 'Training works' in result.stdout
        assert 'FAULT' not in result.stdout

    def test_all_that_training_survives(self, linked_environment):
        replaced = ['torchvision*', 'decord*', 'openmim*', 'openxlab*', 'pip', 'moviepy-*']
        replaced += ['setuptools', 'setuptools-*', 'pkg_resources', 'mmcv-*', 'opencv_*']
        env = linked_environment(without=[*replaced, 'pip-*'])
        message = 'operator torchvision::nms does not exist'
        add(env, 'torchvision', '0.1', code=f'raise RuntimeError({message!r})')
        add(env, 'pip', '23.2.1')
        add(env, 'openmim', '0.3.9')
        add(env, 'openxlab', '0.1.2')
        add(env, 'setuptools', '82.0.0')
        add(env, 'moviepy', '2.1.1')
        add(env, 'mmcv', '2.1.0')
        add(env, 'opencv-python', '5.0.0.93')
        add(env, 'opencv-contrib-python', '5.1.0.95')
        result = doctor(env)
        assert result.returncode == 0, result.stdout + result.stderr
        warnings = [line[9:] for line in result.stdout.splitlines() if line[:8] == 'WARNING:']
        for start in (
            'mmcv and mmcv-lite are both installed',
            'setuptools 82.0.0 has no pkg_resources',
            'torchvision 0.1 does not fit torch',
            'decord cannot be imported; configs with DecordInit fail',
            'moviepy 2.1.1 has no moviepy.editor',
            'pip 23.2.1',
            'openxlab 0.1.2, which mim brings',
            'opencv-python 5.0.0.93, opencv-contrib-python 5.1.0.95 both write the folder cv2',
        ):
            assert any(line.startswith(start) for line in warnings), (start, warnings)
        fix = 'opencv-python==5.0.0.93 opencv-contrib-python==5.0.0.93'
        assert f'pip install --force-reinstall --no-deps {fix}.' in result.stdout


class TestCommandLine:
    def test_no_such_command(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(['docter'])
        assert stop.value.code == 2
        assert "invalid choice: 'docter'" in capsys.readouterr().err

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(['--version'])
        assert stop.value.code == 0
        assert capsys.readouterr().out == f'pan_mm {pan_mm.__version__}\n'
