"""The server in a process of its own, and a file that is made to hurt. All waits have an end."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from PIL import Image

from builders import FORM, ROOT, ask, form, wait


def upload_head(length):
    """Headers of an upload."""
    head = (
        f'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM["Content-Type"]}\r\n'
    )
    return f'{head}Content-Length: {length}\r\n\r\n'.encode()


class Server:
    """``python -m pan_mm serve`` at ``url``, writing into ``folder`` alone."""

    def __init__(self, config, checkpoint, folder, *options):
        self.folder = folder / 'files'
        self.folder.mkdir()
        command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--device', 'cpu']
        command += ['--config', str(config), '--checkpoint', str(checkpoint), *options]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', TMPDIR=str(self.folder))
        self.log = folder / 'log'
        with self.log.open('w') as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            self.url = wait(self._address, 120)
        except AssertionError:
            self.process.kill()
            raise
        self.address = urlsplit(self.url).hostname, urlsplit(self.url).port
        self.ask('healthz')

    def _address(self):
        assert self.process.poll() is None, self.log.read_text()
        lines = self.log.read_text().splitlines()
        return next((line for line in lines if line.startswith('http://')), None)

    def ask(self, path, body=None, method=None, **headers):
        """Status and text of an answer."""
        return ask(f'{self.url}{path}', body, method, **headers)

    def predict(self, content, query=''):
        """Status and JSON of an upload."""
        status, text = self.ask(f'api/predict{query}', form(content), **FORM)
        return status, json.loads(text)

    def metric(self, name):
        """A number that Prometheus would read."""
        lines = self.ask('metrics')[1].splitlines()
        return next(float(line.split()[-1]) for line in lines if line.split()[0] == name)

    def connect(self, sent=b''):
        """A connection that has sent something."""
        connection = socket.create_connection(self.address, 60)
        connection.sendall(sent)
        return connection

    def left(self):
        """What is in its folder, except a cache of PyTorch's that stays empty."""
        return [path for path in self.folder.glob('*') if 'torchinductor' not in path.name]

    def stop(self):
        """End it; it must do so in time and with success."""
        self.process.terminate()
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()


@pytest.fixture(scope='package')
def start_server(config, checkpoint, tmp_path_factory):
    """Starts a server with some options, which is stopped in the end if it still runs."""
    pytest.importorskip('uvicorn', reason='the extra demo is not installed')
    with contextlib.ExitStack() as started:

        def start(*options):
            folder = tmp_path_factory.mktemp('server')
            server = Server(config, checkpoint, folder, '--stride', '2', *options)
            started.callback(lambda: server.process.poll() is None and server.stop())
            return server

        yield start


@pytest.fixture(scope='package')
def server(start_server):
    return start_server('--waiting', '63')


@pytest.fixture(scope='package')
def inferencer(config, checkpoint):
    pytest.importorskip('pebble', reason='the extra demo is not installed')
    from pan_mm.deploy.server.decoding import preload
    from pan_mm.inference.inferencer import PANInferencer

    preload()  # before a test changes the folder of temporary files, in which it listens
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture
def picture():
    """Makes a JPEG of one color."""

    def make(width=64, height=48, value=100, **options):
        file = io.BytesIO()
        Image.new('RGB', (width, height), (value, 0, 0)).save(file, 'JPEG', **options)
        return file.getvalue()

    return make


@pytest.fixture(scope='package')
def heavy(tmp_path_factory):
    """A video of 2,000 frames of 4096 × 2304 that say "as before": small, and slow to decode."""
    path = tmp_path_factory.mktemp('heavy') / 'heavy.mkv'
    image = av.VideoFrame.from_ndarray(np.zeros((2304, 4096, 3), np.uint8), format='rgb24')
    with av.open(str(path), 'w') as target:
        stream = target.add_stream('mpeg4', 30)
        stream.width, stream.height, stream.pix_fmt = 4096, 2304, 'yuv420p'
        stream.gop_size, stream.thread_count = 10**6, 1
        packets = []
        for number in range(4):
            image.pts = number
            packets += stream.encode(image)
        target.mux(packets[:2])
        again, start = bytes(packets[-1]), packets[-1].pts
        for number in range(2_000):
            packet = av.Packet(again)
            packet.stream, packet.time_base = stream, packets[-1].time_base
            packet.pts = packet.dts = start + number
            target.mux(packet)
    return path
