"""The versions that pan_mm is tested with: ``nox`` runs the fast tests with each of them.

``nox -s "tests(numpy 1)" -- -m ""`` runs one, with the arguments after ``--`` for pytest.
"""

import nox

nox.options.default_venv_backend = 'venv'

VERSIONS = {
    'newest': [],
    'oldest mmengine': ['mmengine==0.10.5'],
    'numpy 1': ['numpy<2', 'opencv-python<4.12', 'opencv-contrib-python<4.12'],
}


@nox.session(python='3.11')
@nox.parametrize('versions', [nox.param(pins, id=name) for name, pins in VERSIONS.items()])
def tests(session, versions):
    """The fast tests."""
    session.install('torch==2.13.0')  # first, so that nothing brings another
    session.install('-e', '.[lite,tests]', *versions)
    session.run('pytest', *(session.posargs or ('-n', '2')))


@nox.session
def lint(session):
    """What CI asks of the code's form."""
    session.install('ruff')
    session.run('ruff', 'check', '.')
    session.run('ruff', 'format', '--check', '.')


@nox.session
def audit(session):
    """Known vulnerabilities of what an installation brings; asks a database on the web."""
    session.install('torch==2.13.0')
    session.install('.[lite,demo]', 'pip-audit')
    session.run('pip-audit', '--skip-editable', *session.posargs)


@nox.session
def mim(session):
    """All of mim's commands, in an environment of their own."""
    session.run('python', '.ci/mim_workflow', *session.posargs)
