"""A real server in a process of its own, and files that are made to hurt."""

import contextlib
import json
import os
import re
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


SERVE = """
import sys
from pan_mm.deploy.server import live
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
        self.address = urlsplit(self.url).hostname, urlsplit(self.url).port

    def ask(self, path, body=None, method=None, **headers):
        """Status and text of an answer."""
        request = Request(f'{self.url}{path}', body, headers, method=method)
        try:
            with urlopen(request, timeout=300) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @staticmethod
    def form(content):
        """Body of an upload, and its content type."""
        head = '--edge\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        body = head.encode() + content + b'\r\n--edge--\r\n'
        return body, 'multipart/form-data; boundary=edge'

    def predict(self, content, **headers):
        """Status and JSON of an upload."""
        body, kind = self.form(content)
        status, text = self.ask('api/predict', body, **{'Content-Type': kind}, **headers)
        return status, json.loads(text)

    def metric(self, name):
        """What Prometheus would read."""
        for line in self.ask('metrics')[1].splitlines():
            if line.rpartition(' ')[0] == name:
                return float(line.rpartition(' ')[2])
        raise AssertionError(f'{name} is not measured')

    def places_and_answers(self):
        """How many videos are in the server's hands or have been answered."""
        text = self.ask('metrics')[1]
        counted = re.findall(
            r'^pan_mm_(?:places_taken|requests_total{.*predict.*}) (.*)$', text, re.MULTILINE
        )
        return sum(map(float, counted))

    def upload(self, content, source='127.0.0.1'):
        """A connection that has sent the headers of an upload and some of its body."""
        body, kind = self.form(content)
        head = f'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n'
        head += f'Content-Length: {len(body)}\r\n\r\n'
        return self.connect(head.encode() + body[: len(body) // 2], source)

    def connect(self, sent=b'', source='127.0.0.1'):
        """A connection that has sent something, from an address of loopback."""
        connection = socket.create_connection(self.address, 30, (source, 0))
        # Refused, it may be closed before it has sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        return connection

    def files(self):
        """All that lies in its folder."""
        return [path for path in self.folder.rglob('*') if path.is_file()]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(300) == 0
        for _ in range(600):  # a browser may still be writing its own
            if not (left := list(self.folder.glob('p[ay]*'))):
                return
            time.sleep(0.1)
        raise AssertionError(f'left behind: {left}')


@pytest.fixture(scope='package')
def start_server(config, checkpoint, tmp_path_factory):
    """Starts a server with some options, which is stopped in the end if it still runs."""
    pytest.importorskip('uvicorn', reason='the extra demo is not installed')
    started = []

    def start(*options):
        folder = tmp_path_factory.mktemp('server')
        started.append(Server(config, checkpoint, folder, '--stride', '2', *options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope='package')
def server(start_server):
    return start_server()


@pytest.fixture(scope='package')
def heavy(tmp_path_factory):
    """A video of 5 000 frames of 4096 × 2304 that say "as before": small, and slow to decode."""
    av = pytest.importorskip('av', reason='PyAV is not installed')
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
