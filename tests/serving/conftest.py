"""A real server in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]


SERVE = """
import sys
from pan_mm.serving import live
from pan_mm.cli import main

live.PATIENCE = None  # on a busy machine a browser may be silent for long
sys.exit(main(['serve', *sys.argv[1:]]))
"""


class Server:
    """``python -m pan_mm serve`` at ``url``, writing into ``folder`` alone."""

    def __init__(self, config, checkpoint, folder, *options):
        self.folder = folder
        command = [sys.executable, '-c', SERVE, '--port', '0', '--device', 'cpu']
        command += ['--config', str(config), '--checkpoint', str(checkpoint), *options]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', TMPDIR=str(folder))
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith('http://'), 'the server did not start'
        urlopen(f'{self.url}api/info', timeout=300).close()

    def files(self):
        """All that lies in its folder."""
        return [path for path in self.folder.rglob('*') if path.is_file()]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(300) == 0
        for _ in range(600):  # a browser may still be writing its own
            if not (left := list(self.folder.glob('pan_mm*'))):
                return
            time.sleep(0.1)
        raise AssertionError(f'left behind: {left}')


@pytest.fixture(scope='package')
def server(config, checkpoint, tmp_path_factory):
    pytest.importorskip('gradio', reason='the extra demo is not installed')
    server = Server(config, checkpoint, tmp_path_factory.mktemp('server'), '--stride', '2')
    yield server
    server.stop()
