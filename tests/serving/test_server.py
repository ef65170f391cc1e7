"""What only a real server shows: Gradio's own doors, the end of the process."""

import json
import os
import time
import urllib.error
import uuid
from urllib.request import Request, urlopen

import pytest

pytestmark = pytest.mark.slow


def ask(url, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {'Content-Type': 'application/json', **headers})
    try:
        with urlopen(request, timeout=300) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def recognise_path(server, path, kind='click'):
    """Ask the page's function for a file by its path, as no browser would."""
    config = json.loads(ask(f'{server.url}config')[1])
    (function,) = (f for f in config['dependencies'] if [t[1] for t in f['targets']] == [kind])
    session = uuid.uuid4().hex
    file = dict(path=path, meta={'_type': 'gradio.FileData'})
    event = dict(data=[file], fn_index=function['id'], session_hash=session)
    assert ask(f'{server.url}gradio_api/queue/join', event)[0] == 200
    with urlopen(f'{server.url}gradio_api/queue/data?session_hash={session}') as stream:
        for line in stream:
            message = (
                json.loads(line.decode().removeprefix('data: ') or '{}') if line.strip() else {}
            )
            if message.get('msg') == 'process_completed':
                return message['success'], json.dumps(message['output'])
    raise AssertionError('no answer')


class TestPage:
    def test_takes_no_path_from_outside(self, server, videos):
        for path in (str(videos / '0.mp4'), '/etc/passwd', '../../etc/passwd'):
            _, output = recognise_path(server, path)
            assert 'no longer there' in output
            assert 'Done in' not in output
            success, output = recognise_path(server, path, kind='stream')  # a camera's frame
            assert not success
            assert 'Latency' not in output

    def test_fetches_no_address(self, server, videos):
        from functools import partial
        from http.server import HTTPServer, SimpleHTTPRequestHandler
        from threading import Thread

        asked = []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args):
                asked.append(args)

        other = HTTPServer(('127.0.0.1', 0), partial(Handler, directory=videos))
        Thread(target=other.serve_forever, daemon=True).start()
        try:
            address = f'http://127.0.0.1:{other.server_port}/0.mp4'
            success, output = recognise_path(server, address)
        finally:
            other.shutdown()
            other.server_close()
        assert not success
        assert 'Done in' not in output
        assert asked == []

    @pytest.mark.parametrize(
        'name',
        [
            *('file=/etc/passwd', 'proxy=http://127.0.0.1:1/', 'process_recording', 'run/predict'),
            'stream/session/run/1/playlist-file',
        ],
    )
    def test_closed_doors(self, server, name):
        status, _ = ask(f'{server.url}gradio_api/{name}')
        assert status in (403, 404)

    def test_names_no_other_server(self, server):
        with urlopen(server.url) as answer:
            policy = answer.headers['content-security-policy']
            page = answer.read().decode()
        assert 'http' not in policy
        assert 'fonts.googleapis.com' not in page
        assert '<script src="http' not in page

    def test_upload_over_the_limit(self, server):
        status, text = ask(
            f'{server.url}gradio_api/upload', **{'Content-Length': str(10**12)}, body=''
        )
        assert status == 413
        assert 'larger than 64 MiB' in json.loads(text)['error']


def test_old_uploads_are_removed(tmp_path):
    from pan_mm.serving.server import remove_older

    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'old.mp4').write_bytes(b'0')
    (tmp_path / 'new.mp4').write_bytes(b'0')
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / 'a' / 'old.mp4', (an_hour_ago, an_hour_ago))
    remove_older(tmp_path, keep=1800)
    assert [path.name for path in tmp_path.iterdir()] == ['new.mp4']
