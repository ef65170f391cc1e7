"""Connections that are half open, slow or too many, with uvicorn in this process."""

import asyncio
import contextlib
import select
import socket
import threading
import time

import pytest

uvicorn = pytest.importorskip('uvicorn', reason='the extra demo is not installed')

from pan_mm.deploy.server import protocol as module  # noqa: E402
from pan_mm.deploy.server.protocol import bounded, client_of  # noqa: E402

GET = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'


async def application(scope, receive, send):
    """Reads the body, then answers with as many bytes as the path says."""
    if scope['type'] != 'http':
        return
    while scope['query_string'] != b'now' and (await receive()).get('more_body'):
        pass
    await send(dict(type='http.response.start', status=200, headers=[]))
    await send(dict(type='http.response.body', body=bytes(int(scope['path'][1:] or 1))))


class Served:
    """uvicorn with the bounded protocol, in a thread."""

    def __init__(self, per_client=3, connections=6, proxy=None, timeout=1.0):
        self.protocol = bounded(per_client, proxy, timeout)
        config = uvicorn.Config(
            application,
            http=self.protocol,
            ws='none',
            lifespan='off',
            log_config=None,
            limit_concurrency=connections,
        )
        self.server = uvicorn.Server(config)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        self.open = []
        self.thread = threading.Thread(
            target=asyncio.run, args=(self.server.serve([self.listener]),)
        )
        self.thread.start()

    def connect(self, sent=b'', source='127.0.0.1'):
        connection = socket.create_connection(self.address, 20, (source, 0))
        self.open.append(connection)
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        return connection

    def close(self):
        for connection in self.open:
            connection.close()
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(module, 'HEADER_SECONDS', 2.0)
    monkeypatch.setattr(module, 'SEND_SECONDS', 0.4)
    served = []

    def start(**options):
        served.append(Served(**options))
        return served[-1]

    yield start
    for server in served:
        server.close()


def answer(connection):
    """All that comes until the server closes, or is silent for a moment."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while select.select([connection], [], [], 60)[0] and (part := connection.recv(2**16)):
            parts.append(part)
            if b'200 OK' in part:
                break
    return b''.join(parts)


@pytest.mark.parametrize('sent', [b'', b'GET / HT', b'GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n'])
def test_headers_that_do_not_come(serve, sent):
    server = serve()
    text = answer(server.connect(sent))
    assert text.startswith(b'HTTP/1.1 408 ')
    assert b'"error"' in text
    assert server.protocol.refused['slow'] == 1


def test_headers_that_trickle(serve):
    """A byte now and then gains no time."""
    server = serve()
    connection = server.connect(b'GET / HTTP/1.1\r\n')
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            connection.sendall(b'A: b\r\n')
            if select.select([connection], [], [], 0.05)[0]:
                break
    assert answer(connection).startswith(b'HTTP/1.1 408 ')


def test_the_next_request_has_its_own_time(serve):
    server = serve()
    connection = server.connect(GET)
    assert b'200 OK' in answer(connection)
    connection.sendall(GET)
    assert b'200 OK' in answer(connection)
    connection.sendall(GET[:10])
    assert b'HTTP/1.1 408 ' in answer(connection)  # behind the last chunk of the answer before


def test_too_many_of_one_client(serve):
    server = serve(per_client=3, connections=100)
    held = [server.connect() for _ in range(3)]
    text = answer(server.connect(GET))
    assert text.startswith(b'HTTP/1.1 429 ')
    assert b'Retry-After: 5' in text
    assert b'200 OK' in answer(server.connect(GET, '127.0.0.2'))
    held[0].close()
    for _ in range(1000):  # until the server has seen it
        if b'200 OK' in answer(server.connect(GET)):
            break
        time.sleep(0.01)
    else:
        raise AssertionError('the place was not given back')


def test_a_proxy_is_many_clients(serve):
    server = serve(per_client=1, connections=100, proxy='127.0.0.1')
    connections = [server.connect(GET) for _ in range(5)]
    assert all(b'200 OK' in answer(connection) for connection in connections)


def test_too_many_in_all(serve):
    server = serve(per_client=3, connections=6)
    for number in range(6):
        server.connect(source=f'127.0.0.{2 + number // 2}')
    assert answer(server.connect(GET)).startswith(b'HTTP/1.1 503 ')
    assert server.protocol.refused['full'] == 1


def test_a_client_that_does_not_read(serve):
    """Its connection goes, however much it has asked for."""
    server = serve(timeout=0.2)
    connection = server.connect(b'GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n')
    end = time.monotonic() + 60
    while server.server.server_state.connections and time.monotonic() < end:
        time.sleep(0.02)
    assert not server.server.server_state.connections
    connection.close()


@pytest.mark.parametrize(
    'sent',
    [
        b'\x16\x03\x01\x02\x00',
        b'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
        b'GET / HTTP/1.1\r\nHost: x\r\nA: ' + b'b' * 200_000,
        b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    ],
)
def test_not_http(serve, sent):
    server = serve()
    assert b' 200 ' not in answer(server.connect(sent))
    assert b'200 OK' in answer(server.connect(GET, '127.0.0.2'))


def test_a_body_that_breaks_off_is_answered_once(serve, caplog):
    """uvicorn answers what is not HTTP; the application's answer must not follow."""
    server = serve()
    head = b'POST /?now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    assert answer(server.connect(head + b'1\r\na\r\nzz\r\n')).startswith(b'HTTP/1.1 400 ')
    while server.server.server_state.tasks:
        time.sleep(0.01)
    assert 'Exception in ASGI application' not in caplog.text


def test_whose_address():
    assert client_of('10.0.0.1') == client_of('::ffff:10.0.0.1') == '10.0.0.1'
    assert client_of('2001:db8:0:1::5') == client_of('2001:db8:0:1:9::') != client_of('2001:db8::5')
    assert client_of('fe80::1%eth0') == 'fe80::/64'
    assert client_of('testclient') == 'testclient'
