"""``python -m pan_mm serve``, as far as it comes without a server."""

import sys

import pytest

from pan_mm.cli import main, serve


@pytest.fixture
def run_serve(config, checkpoint, capfd):
    def run(*options):
        model = ['--config', str(config), '--checkpoint', str(checkpoint), '--device', 'cpu']
        assert main(['serve', *model, *options]) == 1
        output = capfd.readouterr()
        assert output.out == ''
        return output.err

    return run


def test_python_too_old_for_gradio(run_serve, monkeypatch):
    monkeypatch.setattr(serve, 'PYTHON', (9, 9))
    error = run_serve()
    assert 'the page needs Python 9.9 or later, for Gradio does; this is 3.' in error
    assert 'predict, stream and export work here' in error


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--max-mib', '0'], '--max-mib must be positive'),
        (['--port', '99999'], '--port must lie between 0 and 65535'),
        (['--device', 'nothing'], "device 'nothing' cannot be used"),
        (['--waiting', '-1'], '--waiting must not be negative'),
        (['--cameras', '-1'], '--cameras must not be negative'),
        (['--label-map', 'nowhere.txt'], 'nowhere.txt'),
    ],
)
def test_wrong_options(run_serve, options, message):
    assert message in run_serve(*options)


def test_gradio_is_missing(run_serve, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    for name in ('GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'):  # which the server sets
        monkeypatch.setenv(name, '')
    assert "pip install 'pan_mm[demo]'" in run_serve()


def test_optimize(run_serve, monkeypatch):
    """The page's recognizer is the one of predict, made quick."""
    from pan_mm.serving import server

    def run_server(analyzer, *args):
        names = {type(module).__name__ for module in analyzer.inferencer.model.modules()}
        raise ValueError(f'BatchNorm2d: {"BatchNorm2d" in names}, streams: {analyzer.streams}')

    monkeypatch.setattr(server, 'run_server', run_server)
    assert 'BatchNorm2d: True, streams: True' in run_serve()
    assert 'BatchNorm2d: False, streams: True' in run_serve('--optimize')
