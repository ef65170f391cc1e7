"""Attacks on a real server, each bounded in number and time, over loopback alone."""

import json
import os
import resource
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def sources(count, each):
    """``count`` addresses of loopback, each ``each`` times."""
    return [f'127.0.1.{1 + number // each}' for number in range(count * each)]


def reply(connection, seconds=60):
    """The first line of an answer; '' if the connection ends or is silent."""
    if not select.select([connection], [], [], seconds)[0]:
        return ''
    try:
        return connection.recv(2**16).partition(b'\r\n')[0].decode()
    except ConnectionError:
        return ''


def close(connections):
    for connection in connections:
        connection.close()


@pytest.fixture(scope='module')
def strict(start_server):
    """A server with little patience and few places."""
    return start_server('--timeout', '8', '--waiting', '3', '--max-gigapixels', '1e6')


class TestSlowClients:
    def test_half_sent_headers_from_one_address(self, server, videos):
        """They are few, they end, and meanwhile others are served."""
        half = [server.connect(b'GET / HTTP/1.1\r\n', '127.0.1.1') for _ in range(200)]
        assert server.predict((videos / '0.mp4').read_bytes())[0] == 200
        answers = [reply(connection) for connection in half]
        assert sum(' 408 ' in answer for answer in answers) == 16
        assert all(' 408 ' in a or ' 429 ' in a or a == '' for a in answers)
        close(half)

    def test_half_sent_headers_from_many_addresses(self, server):
        """3 000 of them, of which no more stay than the server has descriptors for."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        half = []
        try:
            half += [server.connect(b'GET / HT', source) for source in sources(250, 12)]
            # The server accepts all that knock at once, and closes what is too many.
            wait(lambda: len(os.listdir(f'/proc/{server.process.pid}/fd')) < 800)
            answers = [reply(connection) for connection in half[:400]]
            # After ten seconds; the first may come while those of the test before are leaving.
            assert sum(' 408 ' in answer for answer in answers) > 300
            assert all(' 200 ' not in answer for answer in answers)
            assert server.ask('healthz')[0] == 200
        finally:
            close(half)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert server.metric('pan_mm_connections_refused_total{reason="full"}') > 1000

    def test_few_descriptors(self, start_server):
        """With 1 024 of them the server answers on, though more clients come."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            few = start_server()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        half = [few.connect(b'GET / HT', source) for source in sources(30, 10)]
        assert ' 408 ' in reply(half[0])
        assert few.ask('healthz')[0] == 200
        close(half)
        few.stop()

    def test_uploads_that_trickle_hold_no_place(self, strict, videos):
        """40 of them, for 4 places; an honest client waits for nobody."""
        content = (videos / '3.mp4').read_bytes()
        slow = [strict.upload(content, source) for source in sources(4, 10)]
        assert strict.metric('pan_mm_requests_under_way') >= 40
        assert strict.metric('pan_mm_places_taken') == 0
        for _ in range(3):
            assert strict.predict(content)[0] == 200
        assert all(' 408 ' in reply(connection) for connection in slow)
        close(slow)

    def test_who_goes_is_not_worked_for(self, start_server, heavy):
        """Uploads whose clients leave give their places back, long before they are decoded."""
        server = start_server('--timeout', '100', '--max-gigapixels', '1e6')
        body, kind = server.form(heavy.read_bytes())
        head = f'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n'
        head = f'{head}Content-Length: {len(body)}\r\n\r\n'.encode()
        gone = [server.connect(head + body) for _ in range(3)]
        wait(lambda: server.metric('pan_mm_places_taken') == 3)
        close(gone)
        wait(lambda: server.metric('pan_mm_places_taken') == 0)


def wait(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class TestFiles:
    def test_playlists_lead_nowhere(self, server, videos, tmp_path):
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

    def test_small_to_send_and_slow_to_decode(self, server, strict, heavy):
        content = heavy.read_bytes()
        assert server.predict(content)[0] == 413  # by its pixels
        killed = strict.metric('pan_mm_decoders_killed_total')
        status, answer = strict.predict(content)
        assert (status, 'takes more than 4 s' in answer['error']) == (413, True)
        assert strict.metric('pan_mm_decoders_killed_total') == killed + 1

    def test_many_tiny_files(self, server):
        """A form of 999 is refused whole, and nothing of it lies there afterwards."""
        part = b'--edge\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n0\r\n'
        kind = 'multipart/form-data; boundary=edge'
        for _ in range(27):
            status, _ = server.ask(
                'api/predict', 999 * part + b'--edge--\r\n', **{'Content-Type': kind}
            )
            assert status == 400
        assert server.ask('api/info')[0] == 200
        assert server.files() == []


class TestAddresses:
    def test_another_name(self, server):
        """DNS rebinding: the browser believes that the server is the attacker's."""
        for host, status in (('evil.example', 400), ('localhost', 200), ('127.0.0.1', 200)):
            assert server.ask('api/info', Host=host)[0] == status
            assert server.ask('', Host=host)[0] == status

    def test_forwarded_addresses_are_not_believed(self, server):
        """Else one client could be as many as it likes."""
        names = []
        for number in range(3):
            status, text = server.ask(
                'api/cameras', b'', 'POST', **{'X-Forwarded-For': f'10.0.0.{number}'}
            )
            names.append(json.loads(text).get('camera'))
        assert status == 429
        for name in names[:2]:
            assert server.ask(f'api/cameras/{name}', method='DELETE')[0] == 204

    @pytest.mark.parametrize('path', ['../../../etc/passwd', '%2e%2e/http.py', '//etc/passwd'])
    def test_no_other_files(self, server, path):
        connection = server.connect(f'GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
        assert ' 404 ' in reply(connection)
        connection.close()


class TestEnd:
    """On SIGTERM."""

    def test_while_a_bad_file_is_decoded(self, start_server, heavy):
        """The process ends within ten seconds, and all get an answer."""
        server = start_server('--timeout', '100', '--max-gigapixels', '1e6')
        content = heavy.read_bytes()
        with ThreadPoolExecutor(5) as pool:
            running = [pool.submit(server.predict, content) for _ in range(4)]
            wait(lambda: server.metric('pan_mm_places_taken') == 4)
            decoding = server.process.pid
            server.process.terminate()
            began = time.monotonic()
            wait(lambda: server.ask('readyz')[0] == 503)
            assert server.ask('healthz')[0] == 200
            assert server.ask('api/info')[0] == 503
            answers = [future.result() for future in running]
            assert server.process.wait(20) == 0
            assert time.monotonic() - began < 10
        assert [status for status, _ in answers] == [503] * 4
        assert all('error' in answer for _, answer in answers)
        assert not Path(f'/proc/{decoding}').exists()
        assert list(server.folder.glob('p[ay]*')) == []

    def test_what_is_under_way_is_answered(self, start_server, videos):
        server = start_server()
        content = (videos / '3.mp4').read_bytes()
        with ThreadPoolExecutor(5) as pool:
            running = [pool.submit(server.predict, content) for _ in range(4)]
            wait(lambda: server.places_and_answers() >= 4)
            trickling = server.upload(content)
            server.process.terminate()
            assert [future.result()[0] for future in running] == [200] * 4
        assert ' 503 ' in reply(trickling)  # of the rest of its body nobody knows
        assert server.process.wait(20) == 0
        trickling.close()
