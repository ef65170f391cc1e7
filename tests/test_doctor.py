"""The doctor, and the command line around it, in real environments."""

from pathlib import Path

import av
import pytest
import torch

import pan_mm
from pan_mm import compat, doctor
from pan_mm.cli import main

ROOT = Path(__file__).resolve().parents[1]


def add(environment, name, version, needs=''):
    """Install a distribution without modules."""
    info = environment.site_packages / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}'
    )


def test_a_sound_environment(capsys):
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    assert out.startswith('Versions\n  python ')
    assert f'\n  torch  {torch.__version__}' in '\n'.join(
        '  '.join(['', *line.split()]) for line in out.splitlines()
    )
    assert f'  PyAV {av.__version__}  FFmpeg ' in out and 'h264' in out
    for repair in compat.report():
        assert (f'  {repair.name} ' in out) == (repair.state == 'active')
    assert 'FAULT' not in out and 'Training works: one step of a small PAN model was run' in out


def test_a_device_that_fails(monkeypatch, capsys):
    assert 'Error: ' in doctor.try_training('cuda:99')
    monkeypatch.setattr('pan_mm.cli.doctor.get_device', lambda: 'cuda:99')
    assert main(['doctor']) == 1
    out = capsys.readouterr().out
    assert 'FAULT: a training step on cuda:99 fails: ' in out and 'Training works' not in out


@pytest.mark.slow
def test_what_pip_check_says(linked_environment):
    environment = linked_environment()
    add(environment, 'needy', '1.0', 'Requires-Dist: nothing-there>=2\n')
    result = environment.run('-m', 'pan_mm', 'doctor', PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert 'WARNING: needy 1.0 requires nothing-there, which is not installed.' in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ('without', 'fix'),
    [
        (['mmcv*'], "needs the package 'mmcv', which is not installed. pip install \"mmcv-lite"),
        (['mmaction*'], "needs the package 'mmaction', which is not installed. pip install"),
        (['torch', 'torch-*', 'functorch', 'torchgen'], "needs the package 'torch'"),
    ],
)
def test_what_is_missing_is_named_by_the_import(linked_environment, without, fix):
    environment = linked_environment(without=without)
    for command in (['-c', 'import pan_mm'], ['-m', 'pan_mm', 'doctor']):
        result = environment.run(*command, PYTHONPATH=str(ROOT))
        assert result.returncode == 1
        assert fix in result.stderr.splitlines()[-1]


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
