"""docker/nginx.conf with a real nginx."""

import contextlib
import copy
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builders import FORM, form, free_port, wait

from .conftest import upload_head

DOCKER = Path(__file__).resolve().parents[3] / 'docker'
NGINX = shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason='nginx is not installed'),
]


@pytest.fixture(scope='module')
def proxied(server, tmp_path_factory):
    """The server and, in front of it, nginx with the configuration that is shipped."""
    folder = tmp_path_factory.mktemp('nginx')
    port = free_port()
    text = (DOCKER / 'nginx.conf').read_text()
    for shipped, here in (
        ('server pan_mm:7860;', f'server 127.0.0.1:{server.address[1]};'),
        ('listen 8080;', f'listen 127.0.0.1:{port};'),
        ('http {', f'http {{ client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;'),
    ):
        assert text.count(shipped) == 1
        text = text.replace(shipped, here)
    (folder / 'nginx.conf').write_text(text)
    options = ['-c', folder / 'nginx.conf', '-p', folder, '-e', folder / 'errors']
    directives = f'daemon off; pid {folder}/pid; user root;'
    process = subprocess.Popen([NGINX, *options, '-g', directives])
    proxied = copy.copy(server)
    proxied.address = '127.0.0.1', int(port)
    proxied.url = f'http://localhost:{port}/'
    wait(lambda: answers(proxied))
    yield proxied
    process.terminate()
    process.wait(20)


def answers(server):
    with contextlib.suppress(OSError):
        return server.ask('readyz')[0] == 200


@contextlib.contextmanager
def _set_at_last(event):
    try:
        yield
    finally:
        event.set()


class TestNginx:
    def test_metrics_and_origins(self, proxied):
        assert proxied.ask('metrics')[0] == 403
        origin = {'Origin': proxied.url.rstrip('/')}
        assert proxied.ask('api/cameras', b'', **origin)[0] == 201
        assert proxied.ask('api/cameras', b'', Origin='http://evil.example')[0] == 403

    def test_honest_clients_beside_slow_ones(self, proxied, videos):
        """50 honest ones, none of which is refused, beside 40 that trickle; there are 64 places."""
        content = (videos / '3.mp4').read_bytes()
        over = threading.Event()

        def trickle(number):
            sent = b'GET / HTTP/1.1\r\n' if number % 2 else upload_head(10_000)
            while not over.is_set():
                with contextlib.suppress(OSError), proxied.connect(sent) as connection:
                    while not over.wait(0.5):
                        connection.sendall(b'a: b\r\n')

        def ask(number):
            time.sleep(0.02 * number)
            return [proxied.ask('api/predict', form(content), **FORM)[0] for _ in range(2)]

        with ThreadPoolExecutor(90) as pool, _set_at_last(over):
            slow = [pool.submit(trickle, number) for number in range(40)]
            time.sleep(1)
            honest = sum(pool.map(ask, range(50)), [])
            assert not any(future.done() for future in slow)
        assert Counter(honest) == {200: 100}
