"""Attacks on HTTP. Each gets a proper answer or a closed connection, and the server goes on."""

import contextlib
import re
import time

import pytest

pytestmark = pytest.mark.slow

HOST = b'Host: localhost\r\n'
CLOSE = b'Connection: close\r\n'
CHUNKED = b'POST /api/cameras HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n'


def post(headers, body=b'', path=b'/api/cameras', close=CLOSE):
    return b'POST %s HTTP/1.1\r\n%s%s%s\r\n\r\n%s' % (path, HOST, close, headers, body)


def get(path, headers=HOST):
    return b'GET %s HTTP/1.1\r\n%s%s\r\n' % (path, CLOSE, headers)


def upload(kind, *parts):
    body = b''.join(b'--b\r\n' + part for part in parts) + b'--b--\r\n'
    headers = b'Content-Type: multipart/form-data; boundary=b%s\r\nContent-Length: %d'
    return post(headers % (kind, len(body)), body, b'/api/predict')


def field(name, value=b'x', kind=b''):
    return b'Content-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, kind, value)


VIDEO = field(b'video', kind=b'; filename="x"')
SMUGGLED = b'0\r\n\r\n' + get(b'/api/info')
ATTACKS = {
    # What is not HTTP, or means two things: one answer, and no other request behind it.
    'two kinds of length': (
        post(b'Content-Length: 4\r\nTransfer-Encoding: chunked', SMUGGLED, close=b''),
        (400,),
    ),
    'two lengths': (post(b'Content-Length: 4\r\nContent-Length: 5', b'abcde'), (400,)),
    'size of a chunk': (CHUNKED + b'0x3\r\nabc\r\n0\r\n\r\n', (400,)),
    'headers without end': (get(b'/', HOST + b'A: ' + b'a' * 200_000), (400,)),
    'TLS': (b'\x16\x03\x01\x02\x00\r\n\r\n', (400,)),
    'websocket': (
        get(b'/api/info', HOST + b'Upgrade: websocket\r\nConnection: Upgrade\r\n'),
        (200,),
    ),
    # Names of others. RFC 9112, 3.2.2: the host of a whole address counts, not the header's.
    'other host': (get(b'/', b'Host: localhost@evil.example\r\n'), (400,)),
    'other address': (get(b'http://evil.example/healthz'), (400,)),
    'own address': (get(b'http://localhost/healthz'), (200,)),
    # Files of others.
    'traversal': (get(b'/../app.py'), (404,)),
    'encoded traversal': (get(b'/%2e%2e/%2e%2e/etc/passwd'), (404,)),
    # Forms.
    'charset undefined': (upload(b'; charset=undefined', field(b'\xff', b'\xff')), (400,)),
    'charset of nothing': (upload(b'; charset="a%00"', field(b'a'), VIDEO), (400, 422)),
    'large field': (upload(b'', field(b'a', b'x' * 2000)), (400,)),
    'no name': (upload(b'', b'X: y\r\n\r\nx\r\n'), (400,)),
}


def test_attacks(server):
    for name, (sent, statuses) in ATTACKS.items():
        received = b''
        # A server that has refused a request resets what is still sent of it.
        with contextlib.suppress(ConnectionResetError), server.connect(sent) as connection:
            while part := connection.recv(2**16):
                received += part
        found = [int(status) for status in re.findall(rb'HTTP/1\.1 (\d+)', received)]
        assert len(found) == 1 and found[0] in statuses, (name, received)
        assert b'root:' not in received and b'Traceback' not in received, name
        assert server.ask('healthz')[0] == 200, name
    assert 'Traceback' not in server.log.read_text()


def test_chunks_of_one_byte(server):
    """They keep the server busy, but not from others."""
    connections = [server.connect(CHUNKED) for _ in range(4)]
    for connection in connections:
        connection.setblocking(False)
    slowest, end = 0.0, time.monotonic() + 2
    while time.monotonic() < end:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.send(b'1\r\nx\r\n' * 10_000)
        began = time.monotonic()
        assert server.ask('healthz')[0] == 200
        slowest = max(slowest, time.monotonic() - began)
    for connection in connections:
        connection.close()
    assert slowest < 2
    assert 'Traceback' not in server.log.read_text()
