"""What the wheel, the sdist and an editable install hold."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from builders import ROOT
from pan_mm.version import ADDRESS, __version__

PARTS = ('benchmarks', 'configs', 'pan_mm', 'projects', 'requirements', 'tests', 'tools')
pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    """Runs the Python of a virtual environment made of links to this one's packages but pan_mm."""
    venv.create(tmp_path / 'venv', with_pip=False, symlinks=True)
    (site_packages,) = tmp_path.glob('venv/lib/python*/site-packages')
    for entry in Path(sysconfig.get_path('purelib')).iterdir():
        # Its __pycache__ is its own: editable installs of one second and size look alike there.
        if 'pan_mm' not in entry.name.lower() and entry.name != '__pycache__':
            (site_packages / entry.name).symlink_to(entry)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    env.update(PYTHONWARNINGS='ignore', PIP_DISABLE_PIP_VERSION_CHECK='1')

    def run(*arguments):
        command = [str(tmp_path / 'venv' / 'bin' / 'python'), *map(str, arguments)]
        done = subprocess.run(command, env=env, cwd='/', capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run


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
    """Folder of the sdist and the wheel, made by the hooks that pip and build call."""
    for hook in ('build_sdist', 'build_wheel'):
        code = f'from setuptools import build_meta; build_meta.{hook}("dist")'
        done = subprocess.run([sys.executable, '-c', code], cwd=checkout, capture_output=True)
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
    indices = [name for name in os.listdir(checkout) if name.endswith('-index.yml')]
    wanted |= {f'pan_mm/.mim/{name}' for name in indices}
    assert {name for name in names if 'dist-info' not in name} == wanted
    assert not any('mmcv' in line or 'torchvision' in line for line in needs), needs


def test_metadata_are_as_the_index_wants_them(built):
    """The README is rendered as the index would render it."""
    pytest.importorskip('twine')
    files = map(str, sorted(built.iterdir()))
    done = subprocess.run(
        [sys.executable, '-m', 'twine', 'check', '--strict', *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('PASSED') == 2, done.stdout


def test_the_wheel_recognizes_from_an_empty_folder(built, run, tmp_path, videos):
    (wheel,) = built.glob('*.whl')
    run('-m', 'pip', 'install', '--no-deps', wheel)
    assert '3.mp4' in run('-m', 'pan_mm', 'predict', videos / '3.mp4', '--device', 'cpu')
    place = run('-c', 'import pan_mm; print(pan_mm.__file__)')
    assert Path(place).is_relative_to(tmp_path), place


def test_the_address_is_the_same_everywhere():
    text = {name: (ROOT / name).read_text('utf-8') for name in ('README.md', 'CITATION.cff')}
    assert f'git clone {ADDRESS}' in text['README.md']
    # A comment until there is one: the format asks for a URL.
    assert f'repository-code: {ADDRESS}\n' in text['CITATION.cff']
    assert f'version: {__version__}\n' in text['CITATION.cff']


def test_constraints_cover_what_the_readme_installs():
    """A requirement that they lack is put there by ``nox -s constraints``."""

    def lines(name):
        for line in (ROOT / 'requirements' / name).read_text('utf-8').splitlines():
            line = line.partition('#')[0].strip()
            if line.startswith('-r '):
                yield from lines(line[3:])
            elif line:
                yield line

    pins = [line.partition(';')[0].strip().partition('==') for line in lines('constraints.txt')]
    versions = {name: version for name, _, version in pins}
    wanted = {line for name in ('install', 'lite', 'tests') for line in lines(f'{name}.txt')}
    names = {re.match(r'[\w-]+', line)[0].replace('_', '-').lower() for line in wanted}
    assert names <= versions.keys()
    assert versions['opencv-python'] == versions['opencv-contrib-python']


def test_editable_install_is_found_from_elsewhere(checkout, run):
    run('-m', 'pip', 'install', '--no-deps', '--no-build-isolation', '-e', checkout)
    # mim has the same look-up as MMEngine.
    look_up = 'from mmengine.utils import get_installed_path as at; print(at("pan_mm"))'
    assert run('-c', look_up) == str(checkout / 'pan_mm')
    assert run('-c', f'import pan_mm; {look_up}') == str(checkout / 'pan_mm')  # the repaired one
    config = checkout / 'pan_mm' / '.mim' / 'configs' / '_base_' / 'default_runtime.py'
    assert config.samefile(checkout / 'configs' / '_base_' / 'default_runtime.py')

    run('-m', 'pip', 'uninstall', '-y', 'pan_mm')
    assert (checkout / 'pan_mm' / '__init__.py').exists()
    assert run('-c', 'import importlib.util as u; print(u.find_spec("pan_mm"))') == 'None'
