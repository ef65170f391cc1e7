"""docker/nginx.conf with a real nginx, and docker/compose.yml."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from .conftest import FORM, form, upload_head, wait

pytestmark = pytest.mark.slow
DOCKER = Path(__file__).resolve().parents[3] / 'docker'
NGINX = shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin')
needs_nginx = pytest.mark.skipif(NGINX is None, reason='nginx is not installed')


@pytest.fixture(scope='module')
def proxied(start_server, tmp_path_factory):
    """A server and, in front of it, nginx with the configuration that is shipped."""
    server = start_server('--waiting', '63')
    folder = tmp_path_factory.mktemp('nginx')
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
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
    server.address = '127.0.0.1', port
    server.url = f'http://localhost:{port}/'
    wait(lambda: answers(server))
    yield server
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


@needs_nginx
class TestNginx:
    def test_page_and_api(self, proxied, videos):
        assert proxied.ask('')[0] == 200
        origin = {'Origin': proxied.url.rstrip('/')}
        assert proxied.ask('api/cameras', b'', **origin)[0] == 201
        assert proxied.ask('api/cameras', b'', Origin='http://evil.example')[0] == 403
        assert proxied.predict((videos / '3.mp4').read_bytes())[0] == 200

    def test_metrics_stay_inside(self, proxied):
        assert proxied.ask('metrics')[0] == 403

    def test_too_large(self, proxied):
        with proxied.connect(upload_head(65 * 2**20)) as connection:
            assert b' 413 ' in connection.recv(2**16)

    def test_too_many_of_one_address(self, proxied):
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(proxied.connect(upload_head(1000)))
            wait(lambda: proxied.ask('healthz')[0] == 429)
        wait(lambda: proxied.ask('healthz')[0] == 200)

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
            headers = {'Content-Type': FORM}
            return [proxied.ask('api/predict', form(content), **headers)[0] for _ in range(2)]

        with ThreadPoolExecutor(90) as pool, _set_at_last(over):
            slow = [pool.submit(trickle, number) for number in range(40)]
            time.sleep(1)
            honest = sum(pool.map(ask, range(50)), [])
            assert not any(future.done() for future in slow)
        assert Counter(honest) == {200: 100}


def test_compose():
    """It gives the server to nothing but nginx, under a name that the server answers to."""
    compose = yaml.safe_load((DOCKER / 'compose.yml').read_text())
    server, nginx = compose['services']['pan_mm'], compose['services']['nginx']
    assert 'ports' not in server
    assert compose['networks'][server['networks'][0]]['internal'] is True
    assert set(server['networks']) <= set(nginx['networks'])
    assert (DOCKER.parent / server['build']['dockerfile']).is_file()
    assert nginx['volumes'][0].startswith('./nginx.conf:')
    command = server['command']
    assert command[0] == 'serve' and command[command.index('--host-name') + 1] == 'localhost'
