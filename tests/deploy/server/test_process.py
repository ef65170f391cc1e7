"""``python -m pan_mm serve`` in a process of its own: signals, connections, files, memory."""

import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from .conftest import form, upload_head, wait

pytestmark = pytest.mark.slow


def reply(connection, seconds=60):
    """The first line of an answer; '' if the connection ends or is silent."""
    if not select.select([connection], [], [], seconds)[0]:
        return ''
    return connection.recv(2**16).partition(b'\r\n')[0].decode()


class TestConnections:
    @pytest.mark.parametrize(
        'sent',
        [
            b'\x16\x03\x01\x02\x00\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: localhost\r\nA: ' + b'b' * 200_000,
            b'POST /api/cameras HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
            b'1\r\na\r\nzz\r\n',
        ],
    )
    def test_not_http(self, server, sent):
        with server.connect(sent) as connection:
            assert ' 400 ' in reply(connection)
        assert server.ask('healthz')[0] == 200

    def test_two_lengths(self, server):
        """A proxy may have counted with the other one: what follows is not read as a request."""
        head = b'POST /api/cameras HTTP/1.1\r\nHost: localhost\r\n'
        smuggled = b'0\r\n\r\nGET /api/info HTTP/1.1\r\nHost: localhost\r\n\r\n'
        both = b'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n'
        with server.connect(head + both + smuggled) as connection:
            received = b''
            while part := connection.recv(2**16):
                received += part
        assert received.startswith(b'HTTP/1.1 400 ')
        assert received.count(b'HTTP/1.1 ') == 1

    def test_whole_addresses(self, server):
        """RFC 9112, 3.2.2: their host counts, not the header's."""
        for host, status in (('localhost', ' 200 '), ('evil.example', ' 400 ')):
            sent = f'GET http://{host}/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'
            with server.connect(sent.encode()) as connection:
                assert status in reply(connection)

    def test_no_other_files(self, server):
        for path in ('../../../etc/passwd', '%2e%2e/app.py', '//etc/passwd'):
            sent = f'GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n'
            with server.connect(sent.encode()) as connection:
                assert ' 404 ' in reply(connection)

    def test_slow_clients_hold_no_place(self, start_server, videos):
        """40 uploads that stop halfway, and 40 connections that never ask."""
        server = start_server('--timeout', '12', '--waiting', '3')
        content = (videos / '3.mp4').read_bytes()
        body = form(content)
        half = [server.connect(upload_head(len(body)) + body[:100]) for _ in range(40)]
        silent = [server.connect(b'GET / HT') for _ in range(40)]
        wait(lambda: server.metric('pan_mm_requests_under_way') >= 40)
        assert server.metric('pan_mm_places_taken') == 0
        for _ in range(3):
            assert server.predict(content)[0] == 200
        assert all(' 408 ' in reply(connection) for connection in half)
        assert all(connection.recv(1) == b'' for connection in silent if not _is_reset(connection))
        for connection in half + silent:
            connection.close()
        server.stop()

    def test_who_leaves_is_not_worked_for(self, start_server, heavy):
        """Uploads whose clients leave give their places back, long before they are decoded."""
        server = start_server('--timeout', '100', '--max-gigapixels', '1e6')
        body = form(heavy.read_bytes())
        gone = [server.connect(upload_head(len(body)) + body) for _ in range(3)]
        wait(lambda: server.metric('pan_mm_places_taken') == 3)
        for connection in gone:
            connection.close()
        wait(lambda: server.metric('pan_mm_places_taken') == 0)
        assert server.metric('pan_mm_decoders_killed_total') > 0
        server.stop()


def _is_reset(connection):
    """Wait for a connection to be closed by an abort, which ``recv`` tells as an error."""
    select.select([connection], [], [], 60)
    return connection.getsockopt(1, 4) != 0  # SOL_SOCKET, SO_ERROR


class TestFiles:
    def test_playlists_lead_nowhere(self, server, videos):
        """HLS, ffconcat, DASH and SDP, bare and behind the marks of a container."""
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, *args):
                pass

        other = HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{other.server_port}/secret.ts'
        local = videos / '0.mp4'
        playlists = [
            f'#EXTM3U\n#EXTINF:1,\n{local}\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n',
            f'#EXTM3U\nAVI \n#EXTINF:1,\nfile://{local}\n#EXTINF:1,\n{address}\n',
            f"ffconcat version 1.0\nfile '{local}'\nfile '{address}'\n",
            f'<MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>',
            'v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n',
        ]
        marks = [b'', b'RIFF\0\0\0\0AVI ', b'\0\0\0\x20ftypisom', b'\x1a\x45\xdf\xa3', b'G' * 400]
        try:
            for playlist in playlists:
                for mark in marks:
                    status, answer = server.predict(mark + playlist.encode())
                    assert status == 422, answer
                    assert str(local) not in answer['error']
                    assert str(server.folder) not in answer['error']
        finally:
            other.shutdown()
            other.server_close()
        assert asked == []

    def test_small_to_send_and_slow_to_decode(self, server, heavy):
        assert server.predict(heavy.read_bytes())[0] == 413


class TestEnd:
    @pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_what_is_under_way_is_answered(self, start_server, videos, number):
        """Uploads that are in get their results, others 503, and nothing is left."""
        server = start_server()
        content = (videos / '3.mp4').read_bytes()
        body = form(content)
        half = server.connect(upload_head(len(body)) + body[: len(body) // 2])
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(server.predict, content) for _ in range(4)]
            wait(lambda: server.metric('pan_mm_requests_under_way') >= 5)
            server.process.send_signal(number)
            answers = [future.result()[0] for future in running]
        assert set(answers) <= {200, 503} and 200 in answers
        assert ' 503 ' in reply(half)
        half.close()
        assert server.process.wait(20) == 0
        assert server.left() == []

    def test_while_a_bad_file_is_decoded(self, start_server, heavy):
        """The process ends within ten seconds, and all get an answer."""
        server = start_server('--timeout', '100', '--max-gigapixels', '1e6')
        content = heavy.read_bytes()
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(server.predict, content) for _ in range(4)]
            wait(lambda: server.metric('pan_mm_places_taken') == 4)
            server.process.terminate()
            began = time.monotonic()
            wait(lambda: server.ask('readyz')[0] == 503)
            assert server.ask('healthz')[0] == 200
            assert server.ask('api/info')[0] == 503
            answers = [future.result() for future in running]
            assert server.process.wait(20) == 0
            assert time.monotonic() - began < 10
        assert [status for status, _ in answers] == [503] * 4
        assert server.left() == []

    def test_killed(self, start_server, heavy):
        """Its decoders do not outlive it."""
        server = start_server('--timeout', '100', '--max-gigapixels', '1e6')
        body = form(heavy.read_bytes())
        with server.connect(upload_head(len(body)) + body):
            wait(lambda: server.metric('pan_mm_places_taken') == 1)
            idle = _descendants(server.process.pid)
            server.process.kill()
            server.process.wait()
        wait(lambda: sum(os.path.exists(f'/proc/{pid}') for pid in idle) <= 1)  # one is bounded


def _descendants(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        children = [int(child) for child in file.read().split()]
    return children + [pid for child in children for pid in _descendants(child)]


def test_rounds_of_requests_leave_nothing(start_server, videos):
    """Good, damaged and abandoned ones: neither memory nor descriptors nor files grow."""
    server = start_server('--waiting', '64')
    good = (videos / '3.mp4').read_bytes()
    body = form(good)

    def ask(number):
        if number % 3 == 2:  # leaves early
            with server.connect(upload_head(len(body)) + body[: len(body) // (1 + number % 2)]):
                return None
        content = good if number % 3 == 0 else good[: len(good) // 2]
        return server.predict(content, '?pictures=true&timeline=true')[0]

    pid, memory, descriptors = server.process.pid, [], []
    for _ in range(4):
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(ask, range(60)))
        assert set(answers) <= {None, 200, 422}
        wait(lambda: server.metric('pan_mm_requests_under_way') == 1)
        memory.append(server.metric('process_resident_memory_bytes'))
        descriptors.append(len(os.listdir(f'/proc/{pid}/fd')))
    assert memory[-1] < 1.1 * memory[1], memory
    assert descriptors[-1] <= descriptors[1] + 3, descriptors
    server.stop()
    assert server.left() == []
