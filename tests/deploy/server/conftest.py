"""The server in this process and in one of its own, and a file that is made to hurt."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).resolve().parents[3]
FORM = 'multipart/form-data; boundary=edge'


def form(content):
    """Body of an upload."""
    head = '--edge\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    return head.encode() + content + b'\r\n--edge--\r\n'


def upload_head(length):
    """Headers of an upload."""
    head = f'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n'
    return f'{head}Content-Length: {length}\r\n\r\n'.encode()


class Server:
    """``python -m pan_mm serve`` at ``url``, writing into ``folder`` alone."""

    def __init__(self, config, checkpoint, folder, *options):
        self.folder = folder
        command = [sys.executable, '-m', 'pan_mm', 'serve', '--port', '0', '--device', 'cpu']
        command += ['--config', str(config), '--checkpoint', str(checkpoint), *options]
        env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', TMPDIR=str(folder))
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith('http://'), 'the server did not start'
        self.address = urlsplit(self.url).hostname, urlsplit(self.url).port

    def ask(self, path, body=None, method=None, **headers):
        """Status and text of an answer."""
        request = Request(f'{self.url}{path}', body, headers, method=method)
        try:
            with urlopen(request, timeout=300) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def predict(self, content, query=''):
        """Status and JSON of an upload."""
        status, text = self.ask(f'api/predict{query}', form(content), **{'Content-Type': FORM})
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
        self.process.terminate()
        assert self.process.wait(300) == 0


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


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
    return start_server()


@pytest.fixture(scope='package')
def inferencer(config, checkpoint):
    from pan_mm.inference.inferencer import PANInferencer

    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture
def picture():
    """Makes a JPEG of one color."""
    from PIL import Image

    def make(width=64, height=48, value=100, **options):
        file = io.BytesIO()
        Image.new('RGB', (width, height), (value, 0, 0)).save(file, 'JPEG', **options)
        return file.getvalue()

    return make


@pytest.fixture(scope='package')
def heavy(tmp_path_factory):
    """A video of 5 000 frames of 4096 × 2304 that say "as before": small, and slow to decode."""
    import av
    import numpy as np

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
        for number in range(5_000):
            packet = av.Packet(again)
            packet.stream, packet.time_base = stream, packets[-1].time_base
            packet.pts = packet.dts = start + number
            target.mux(packet)
    return path
