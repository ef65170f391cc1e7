"""What the wheel, the sdist and an editable install hold."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ('configs', 'pan_mm', 'requirements', 'tests', 'tools')
pytestmark = pytest.mark.slow


def files_of(folder):
    """Relative paths of the files of a folder that git would know."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and not {'__pycache__', '.mim'} & set(path.parts)
    }


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of the sources, as a clone has them."""
    folder = tmp_path_factory.mktemp('packaging') / 'pan_mm'
    ignore = shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info')
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith('.'):
            shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope='module')
def built(checkout):
    """Folder of the sdist, and of the wheel that is built from it."""
    command = [sys.executable, '-m', 'build', '--no-isolation', str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout / 'dist'


def test_sdist_holds_all_sources(built, checkout):
    (path,) = built.glob('*.tar.gz')
    with tarfile.open(path) as archive:
        names = {m.name.partition('/')[2] for m in archive.getmembers() if m.isfile()}
    for part in PARTS:
        assert {f'{part}/{name}' for name in files_of(checkout / part)} <= names
    assert {'setup.py', 'pyproject.toml', 'LICENSE'} <= names
    assert not any('.mim/' in name for name in names)


def test_wheel_holds_the_package_and_what_mim_looks_up(built, checkout):
    (path,) = built.glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        (top_level,) = (name for name in names if name.endswith('dist-info/top_level.txt'))
        assert archive.read(top_level) == b'pan_mm\n'
        (metadata,) = (name for name in names if name.endswith('dist-info/METADATA'))
        needs = [
            line
            for line in archive.read(metadata).decode().splitlines()
            if line.startswith('Requires-Dist') and 'extra ==' not in line
        ]
    wanted = {f'pan_mm/{name}' for name in files_of(checkout / 'pan_mm')}
    for part in ('configs', 'tools'):
        wanted |= {f'pan_mm/.mim/{part}/{name}' for name in files_of(checkout / part)}
    wanted.add('pan_mm/.mim/model-index.yml')
    assert {name for name in names if 'dist-info' not in name} == wanted
    assert not any('mmcv' in line or 'torchvision' in line for line in needs), needs


def test_editable_install_is_found_from_elsewhere(checkout, tmp_path):
    venv.create(tmp_path / 'venv', with_pip=True, symlinks=True)
    python = tmp_path / 'venv' / 'bin' / 'python'
    (site_packages,) = (tmp_path / 'venv').glob('lib/python*/site-packages')
    for entry in Path(pytest.__file__).parents[1].iterdir():  # what the tests run with
        if not (site_packages / entry.name).exists() and not entry.name.startswith('pan_mm'):
            (site_packages / entry.name).symlink_to(entry)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

    def run(*arguments):
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    pip = ('-m', 'pip', '--disable-pip-version-check')
    run(*pip, 'install', '--no-deps', '--no-build-isolation', '-e', str(checkout))
    # Both as pan_mm repairs the look-up and as MMEngine and mim have it.
    look_up = 'from mmengine.utils import get_installed_path as at; print(at("pan_mm"))'
    assert run('-c', look_up) == str(checkout / 'pan_mm')
    assert run('-c', f'import pan_mm; {look_up}') == str(checkout / 'pan_mm')
    config = checkout / 'pan_mm' / '.mim' / 'configs' / '_base_' / 'default_runtime.py'
    assert config.samefile(checkout / 'configs' / '_base_' / 'default_runtime.py')

    run(*pip, 'uninstall', '-y', 'pan_mm')
    assert (checkout / 'pan_mm' / '__init__.py').exists()
    assert run('-c', 'import importlib.util as u; print(u.find_spec("pan_mm"))') == 'None'
