"""Packaging of pan_mm; tool settings are in pyproject.toml, dependencies in requirements/.

What mim and MMEngine look up by package name (``mim train pan_mm …``, ``_base_ = 'pan_mm::…'``)
they look for in ``site-packages/pan_mm/.mim``. A wheel holds copies there. An editable install
(PEP 660) has no such folder: it gets links in the checkout's ``pan_mm/.mim``, and its metadata
name the checkout.
"""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_FILES = ('configs', 'tools', 'model-index.yml', 'dataset-index.yml')


def read_version():
    names = {}
    exec((ROOT / 'pan_mm' / 'version.py').read_text(encoding='utf-8'), names)
    return names['__version__'], names['ADDRESS']


def read_requirements(name):
    """Lines of requirements/NAME, with ``-r OTHER`` replaced by the lines of OTHER."""
    lines = []
    for line in (ROOT / 'requirements' / name).read_text(encoding='utf-8').splitlines():
        line = line.partition('#')[0].strip()
        if line.startswith('-r '):
            lines += read_requirements(line[3:].strip())
        elif line:
            lines.append(line)
    return lines


def read_extras():
    paths = sorted((ROOT / 'requirements').glob('*.txt'))
    none = ('install', 'constraints')
    return {path.stem: read_requirements(path.name) for path in paths if path.stem not in none}


class BuildWithMim(build_py):
    """Put the files that mim looks up into the package that is being built."""

    def run(self):
        super().run()
        if self.editable_mode:
            self.fill(ROOT / 'pan_mm' / '.mim', link_or_copy)
            self.name_checkout()
        else:
            self.fill(Path(self.build_lib) / 'pan_mm' / '.mim', copy)

    def fill(self, folder, place):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in MIM_FILES:
            if (ROOT / name).exists():
                place(ROOT / name, folder / name)

    def name_checkout(self):
        # mim and mmengine.utils.get_installed_path join site-packages with the first line here.
        site_packages = Path(self.get_finalized_command('install').install_purelib)
        (top_level,) = site_packages.glob('pan_mm-*.dist-info/top_level.txt')
        top_level.write_text(f'{ROOT / "pan_mm"}\npan_mm\n', encoding='utf-8')


def copy(source, target):
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.py[cod]'))
    else:
        shutil.copy2(source, target)


def link_or_copy(source, target):
    try:
        target.symlink_to(os.path.relpath(source, target.parent), source.is_dir())
    except OSError:  # Windows without the right to make links
        copy(source, target)


def read_long_description():
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


version, address = read_version()
setup(
    name='pan_mm',
    version=version,
    **(dict(url=address) if '://' in address else {}),
    description='PAN (Persistent Appearance Network) for action recognition with MMAction2',
    long_description=read_long_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='computer vision, action recognition, video, motion',
    packages=find_packages(include=('pan_mm', 'pan_mm.*')),
    include_package_data=True,
    python_requires='>=3.10',
    install_requires=read_requirements('install.txt'),
    extras_require=read_extras(),
    entry_points={'console_scripts': ['pan_mm = pan_mm.cli:main']},
    cmdclass={'build_py': BuildWithMim},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    zip_safe=False,
)
