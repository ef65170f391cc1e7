"""The versions that pan_mm is tested with; what each run found is in docs/versions.md.

``nox -s tests-3.13 -- tests/models`` runs one session, with the arguments after ``--`` for pytest.
Of a torch other than 3.11's, Linux gets the CUDA build: gigabytes for each session.
"""

import re
from pathlib import Path

import nox

nox.options.default_venv_backend = 'venv'
nox.options.sessions = ['tests-3.11', 'numpy_1', 'lint', 'mim']

CONSTRAINTS = 'requirements/constraints.txt'


def run_fast_tests(session, *versions):
    session.install('-e', '.[lite,tests]', *versions)
    session.run('pip', 'list')
    session.run('pytest', *(session.posargs or ('-n', '2')))


@nox.session(python=['3.10', '3.11', '3.12', '3.13'])
def tests(session):
    """The fast tests with the versions that the README installs."""
    run_fast_tests(session, '-c', CONSTRAINTS)


@nox.session(python='3.11')
def newest(session):
    """The fast tests with what the registry has today: shows what breaks before users see it."""
    run_fast_tests(session)


@nox.session(python='3.11')
def oldest(session):
    """The fast tests with the lowest version that each requirement allows."""
    lines = Path('requirements/install.txt').read_text('utf-8').splitlines()
    floors = [re.match(r'([\w-]+)>=([\w.]+)', line) for line in lines]
    pins = (f'{floor[1]}=={floor[2]}' for floor in floors if floor)
    run_fast_tests(session, *pins, 'pyarrow<21')  # later ones refuse NumPy 1, and do not say so


@nox.session(python='3.11')
def numpy_1(session):
    """The fast tests with the last NumPy 1, an OpenCV that takes it, and else what is newest."""
    opencv = ('opencv-python<4.12', 'opencv-contrib-python<4.12')
    run_fast_tests(session, 'numpy<2', *opencv, 'pyarrow<21')


@nox.session(python='3.11')
def onedl(session):
    """The fast tests with OneDL's MMEngine, which still has releases under the same name."""
    session.install('-e', '.[lite,tests]', '-c', CONSTRAINTS)
    session.run('pip', 'uninstall', '--yes', 'mmengine')
    session.install('--no-deps', 'onedl-mmengine==0.10.12')
    session.run('pytest', *(session.posargs or ('-n', '2')))


@nox.session(python='3.11')
def barriers(session):
    """Each barrier of the CUDA kernels, taken away: does a test of values notice?"""
    session.install('-e', '.[lite,tests]', '-c', CONSTRAINTS)
    session.env['PYTHONPATH'] = 'tests'
    session.run('python', 'tests/mutate_barriers.py', 'results/performance/cuda_kernel.json')


@nox.session(python='3.11')
def mutants(session):
    """Each small change of PA, VAP and the sampler: does a fast test notice?"""
    session.install('-e', '.[lite,tests]', 'cosmic-ray', '-c', CONSTRAINTS)
    session.run('python', 'tests/mutate_values.py', 'results/reliability.json')


@nox.session
def constraints(session):
    """Choose the versions of requirements/constraints.txt anew, for every system and Python."""
    session.install('uv')
    session.run(
        *('uv', 'pip', 'compile', 'setup.py', '--extra', 'lite', '--extra', 'tests', '--upgrade'),
        *('--universal', '--python-version', '3.10', '-c', 'requirements/constraints.in'),
        *('--no-annotate', '--custom-compile-command', 'nox -s constraints', '-o', CONSTRAINTS),
        *session.posargs,
    )


@nox.session
def lint(session):
    """What CI asks of the code's form."""
    session.install('ruff')
    session.run('ruff', 'check', '.')
    session.run('ruff', 'format', '--check', '.')


@nox.session
def docs(session):
    """The documentation site, in build/site; a warning is an error."""
    session.install('-c', CONSTRAINTS, '-e', '.[lite,docs]')
    session.run(
        *('python', '-m', 'sphinx', '-E', '-W', '--keep-going', '-c', 'docs', '.', 'build/site'),
        *session.posargs,
    )


@nox.session
def audit(session):
    """Known vulnerabilities of what an installation brings; asks a database on the web."""
    session.install('-c', CONSTRAINTS, '.[lite,demo]', 'pip-audit')
    session.run('pip-audit', '--skip-editable', *session.posargs)


@nox.session
def mim(session):
    """All of mim's commands, in an environment of their own."""
    session.run('python', '.ci/mim_workflow', *session.posargs)
