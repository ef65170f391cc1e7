"""``python -m pan_mm serve`` in a process of its own: signals, connections, files."""

import contextlib
import select
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from builders import form, wait

from .conftest import upload_head

pytestmark = pytest.mark.slow


def reply(connection, seconds=60):
    """The first line of an answer; '' if the connection ends or is silent."""
    if not select.select([connection], [], [], seconds)[0]:
        return ''
    return connection.recv(2**16).partition(b'\r\n')[0].decode()


def test_slow_clients_hold_no_place(start_server, videos):
    """40 uploads that stop halfway, and 40 connections that never ask."""
    server = start_server('--timeout', '12', '--waiting', '3')
    content = (videos / '3.mp4').read_bytes()
    body = form(content)
    half = [server.connect(upload_head(len(body)) + body[:100]) for _ in range(40)]
    silent = [server.connect(b'GET / HT') for _ in range(40)]
    assert server.metric('pan_mm_videos') == 0
    for _ in range(3):
        assert server.predict(content)[0] == 200
    assert all(' 408 ' in reply(connection) for connection in half)
    assert all(is_closed(connection) for connection in silent)
    for connection in half + silent:
        connection.close()
    server.stop()


def is_closed(connection):
    """Wait for a connection to be closed, with what it has sent or without."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b''
    return True


def test_who_leaves_is_not_worked_for(server, heavy):
    """Uploads whose clients leave give their places back, long before they are decoded."""
    body, idle = form(heavy.read_bytes()), len(_descendants(server.process.pid))
    gone = [server.connect(upload_head(len(body)) + body) for _ in range(3)]
    wait(lambda: server.metric('pan_mm_videos') == 3)
    for connection in gone:
        connection.close()
    wait(lambda: server.metric('pan_mm_videos') == 0, 5)
    wait(lambda: len(_descendants(server.process.pid)) <= idle, 5)


def test_the_end(start_server, videos, heavy):
    """Videos that are in get results, what takes too long gets 503, and nothing is left."""
    server = start_server()
    content = (videos / '3.mp4').read_bytes()
    body = form(content)
    half = server.connect(upload_head(len(body)) + body[: len(body) // 2])
    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(server.predict, heavy.read_bytes())
        wait(lambda: server.metric('pan_mm_videos') == 1)
        running = [pool.submit(server.predict, content) for _ in range(3)]
        wait(lambda: server.metric('pan_mm_videos') >= 3)
        server.process.send_signal(signal.SIGHUP)
        began = time.monotonic()
        answers = {future.result(60)[0] for future in running}
        assert 200 in answers and answers <= {200, 503}  # 503 on a machine that is busy
        status, answer = slow.result(60)
        assert status == 503 and 'shutting down' in answer['error']
    assert ' 503 ' in reply(half)
    half.close()
    assert server.process.wait(20) == 0
    assert 3 < time.monotonic() - began < 10
    assert server.left() == []


def _descendants(pid):
    try:
        with open(f'/proc/{pid}/task/{pid}/children') as file:
            children = [int(child) for child in file.read().split()]
    except FileNotFoundError:  # it has just ended
        return []
    return children + [pid for child in children for pid in _descendants(child)]
