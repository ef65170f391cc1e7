"""``python -m pan_mm serve``, as far as it comes without a server."""

import sys

import pytest

from pan_mm.cli import main


@pytest.fixture
def run_serve(config, checkpoint, capfd):
    def run(*options):
        model = ['--config', str(config), '--checkpoint', str(checkpoint), '--device', 'cpu']
        assert main(['serve', *model, *options]) == 1
        output = capfd.readouterr()
        assert output.out == ''
        return output.err

    return run


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--max-mib', '0'], '--max-mib must be at least 0.001'),
        (['--waiting', '-1'], '--waiting must be at least 0'),
        (['--device', 'nothing'], "device 'nothing' cannot be used"),
        (['--token-file', 'nowhere.txt'], 'nowhere.txt'),
    ],
)
def test_wrong_options(run_serve, options, message):
    assert message in run_serve(*options)


@pytest.mark.parametrize('token', ['short', 'with spaces in between', 'ümläuts-and-others'])
def test_no_token(run_serve, tmp_path, token):
    (tmp_path / 'token').write_text(f'{token}\n', encoding='utf-8')
    assert 'must hold a token' in run_serve('--token-file', str(tmp_path / 'token'))


def test_a_token_that_others_can_read(run_serve, tmp_path):
    path = tmp_path / 'token'
    path.write_text('0123456789abcdef\n')
    path.chmod(0o644)
    options = ['--token-file', str(path), '--label-map', 'nowhere.txt']
    assert f'warning: others can read the token; chmod 600 {path}' in run_serve(*options)
    path.chmod(0o600)
    assert 'warning' not in run_serve(*options)


def test_no_reject(monkeypatch):
    module = pytest.importorskip('pan_mm.deploy.server.server', reason='the extra demo is missing')
    apps = []
    monkeypatch.setattr(module, 'run_server', lambda app, *args: apps.append(app))
    for options in ([], ['--no-reject']):
        assert main(['serve', '--device', 'cpu', *options]) == 0
    marks, leaves = (app.state.api.inferencer.threshold for app in apps)
    assert marks > 0 and leaves == 0


def test_a_package_is_missing(run_serve, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    monkeypatch.delitem(sys.modules, 'pan_mm.deploy.server.server', raising=False)
    assert 'pip install -e ".[demo]"' in run_serve()
