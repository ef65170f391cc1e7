"""The HTTP API, in process; ``test_process.py`` asks a real server."""

import io
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

pytest.importorskip('prometheus_client', reason='the extra demo is not installed')
testclient = pytest.importorskip('starlette.testclient')

from prometheus_client import REGISTRY  # noqa: E402

from builders import wait  # noqa: E402
from pan_mm.deploy.server import app as module  # noqa: E402
from pan_mm.deploy.server.app import create_app  # noqa: E402
from pan_mm.deploy.server.limits import Limits  # noqa: E402
from pan_mm.deploy.server.pictures import decode_picture  # noqa: E402
from pan_mm.deploy.streaming.recognizer import StreamRecognizer  # noqa: E402

TOKEN = '0123456789abcdef'
LIMITS = Limits(max_bytes=300_000, waiting=1, timeout=100, cameras=2)
FORM = {'Content-Type': 'multipart/form-data; boundary=b'}


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """Where videos are while they are worked on."""
    (tmp_path / 'uploads').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'uploads'))
    yield tmp_path / 'uploads'
    assert list((tmp_path / 'uploads').glob('pan_mm*')) == []  # whatever happened


@pytest.fixture
def open_client(inferencer, uploads):
    """Makes a client of an application."""

    def make(hosts=('testserver',), token=None):
        app = create_app(inferencer, LIMITS, list(hosts), token, stride=2)
        return testclient.TestClient(app, raise_server_exceptions=False)

    return make


@pytest.fixture
def client(open_client):
    with open_client() as client:
        yield client


def post(client, path_or_bytes, name='clip.mp4', **kwargs):
    content = path_or_bytes if isinstance(path_or_bytes, bytes) else path_or_bytes.read_bytes()
    return client.post('/api/predict', files=dict(video=(name, io.BytesIO(content))), **kwargs)


def check(answer, status, words):
    assert answer.status_code == status, answer.text
    assert words in answer.json()['error']


class TestPredict:
    def test_equals_the_inferencer(self, client, inferencer, videos):
        answer = post(client, videos / '2.mp4')
        assert answer.status_code == 200, answer.text
        result = answer.json()
        (expected,) = inferencer(videos / '2.mp4')
        assert [item['label'] for item in result['top']] == [i['label'] for i in expected['top']]
        scores, wanted = ([item['score'] for item in r['top']] for r in (result, expected))
        assert torch.allclose(torch.tensor(scores), torch.tensor(wanted), atol=1e-6)
        assert result['seconds']['recognition'] > 0
        answer = client.get('/api/info').json()
        assert answer['classes'] == inferencer.classes
        assert answer['limits']['max_bytes'] == LIMITS.max_bytes
        assert answer['live'] is True

    def test_sample(self, client):
        """It is a video that the model takes."""
        answer = client.get('/api/sample')
        assert (answer.status_code, answer.headers['content-type']) == (200, 'video/mp4')
        assert len(post(client, answer.content).json()['top']) == 5

    def test_not_ready_while_no_process_can_be_started(self, client, videos):
        """Such as when somebody has emptied the folder of temporary files."""
        socket = Path(forkserver._forkserver._forkserver_address)
        away = socket.rename(socket.with_name('away'))
        check(client.get('/readyz'), 500, 'its log says more')
        check(post(client, videos / '0.mp4'), 500, 'its log says more')
        away.rename(socket)
        assert client.get('/readyz').status_code == 200


class TestRefusals:
    def test_no_video(self, client, uploads):
        answer = post(client, b'no video')
        check(answer, 422, 'the file: is not a video')
        assert str(uploads) not in answer.text

    def test_a_path_is_no_video(self, client, videos):
        check(client.post('/api/predict', data=dict(video=str(videos))), 415, "form's file")
        for file in (dict(video=(None, str(videos / '0.mp4'))), dict(other=('a.mp4', b'0'))):
            check(client.post('/api/predict', files=file), 422, 'no file "video"')

    def test_too_large(self, client):
        check(post(client, bytes(LIMITS.max_bytes + 1)), 413, 'larger than 0.286 MiB')
        chunks = (bytes(50_000) for _ in range(8))  # without saying so
        answer = client.post('/api/predict', content=chunks, headers=FORM)
        check(answer, 413, 'larger than 0.286 MiB')
        answer = client.post('/api/cameras/x', content=bytes(2**20 + 1))
        check(answer, 413, 'larger than 1 MiB')


@pytest.fixture
def busy(client):
    """Keeps the model busy until it is set."""
    free = threading.Event()
    client.app.state.api.model_thread.submit(free.wait, 60)
    yield free
    free.set()


def test_queue_is_full(busy, client, videos):
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(post, client, videos / '0.mp4') for _ in range(2)]
        wait(lambda: REGISTRY.get_sample_value('pan_mm_videos') == 2)
        answer = post(client, videos / '0.mp4')
        check(answer, 503, 'busy')
        assert answer.headers['retry-after'] == '5'
        assert client.get('/healthz').status_code == 200
        busy.set()
        assert [future.result(60).status_code for future in waiting] == [200, 200]


class TestAccess:
    def test_only_its_own_names(self, open_client):
        """A name that an attacker lets point here (DNS rebinding) is not answered."""
        with open_client(['localhost', '[::1]']) as client:
            for host, status in (
                *(('localhost', 200), ('localhost:80', 200), ('[::1]:80', 200)),
                *(('evil.example', 400), ('localhost.evil.example', 400), ('', 400)),
            ):
                for path in ('/', '/api/info', '/healthz'):
                    answer = client.get(path, headers=dict(host=host))
                    assert answer.status_code == status, (host, path)

    @pytest.mark.parametrize(
        'headers',
        [
            {'Sec-Fetch-Site': 'same-site', 'Origin': 'http://testserver'},
            {'Origin': 'http://testserver:81'},
            {'Origin': 'null'},
        ],
    )
    def test_no_other_sites_page(self, client, videos, headers):
        check(post(client, videos / '0.mp4', headers=headers), 403, 'site')
        check(client.post('/api/cameras', headers=headers), 403, 'site')
        assert client.get('/api/info').json()['cameras'] == 0

    def test_token(self, open_client, videos):
        with open_client(token=TOKEN) as client:
            for path in ('/api/info', '/api/sample', '/metrics', '/api/cameras/x'):
                for given in ('', f'Bearer {TOKEN}x', TOKEN, f'Basic {TOKEN}'):
                    answer = client.get(path, headers={'Authorization': given})
                    assert answer.status_code == 401, (path, given)
                    assert answer.headers['www-authenticate'] == 'Bearer'
            for path in ('/', '/page.js', '/healthz', '/readyz'):
                assert client.get(path).status_code == 200, path
            for scheme in ('Bearer', 'bearer'):
                headers = {'Authorization': f'{scheme} {TOKEN}'}
                assert post(client, videos / '0.mp4', headers=headers).status_code == 200
                assert client.get('/metrics', headers=headers).status_code == 200

    def test_page_asks_no_other_server(self, client):
        answer = client.get('/')
        assert "default-src 'none'" in answer.headers['content-security-policy']
        text = answer.text + client.get('/page.js').text + client.get('/page.css').text
        assert re.findall(r'(?:https?:)?//[\w.-]+\.\w+', text) == []


def test_metrics(client, videos):
    def read():
        lines = client.get('/metrics').text.splitlines()
        parts = (line.rpartition(' ') for line in lines if not line.startswith('#'))
        return {name: float(value) for name, _, value in parts}

    before = read()
    post(client, videos / '0.mp4')
    post(client, b'no video')
    after = read()
    for name, change in (
        ('pan_mm_requests_total{route="/api/predict",status="200"}', 1),
        ('pan_mm_requests_total{route="/api/predict",status="422"}', 1),
        ('pan_mm_request_seconds_count{route="/api/predict"}', 2),
    ):
        assert after[name] - before.get(name, 0) == change, name
    assert after['pan_mm_videos'] == 0
    assert after['process_open_fds'] > 0


class TestCamera:
    @pytest.fixture(autouse=True)
    def no_gaps(self, monkeypatch):
        """However long the machine takes from frame to frame."""
        monkeypatch.setattr(module, 'MAX_GAP', float('inf'))

    def test_same_scores_as_the_stream_engine(self, client, inferencer, picture):
        name = client.post('/api/cameras').json()['camera']
        recognizer, count = StreamRecognizer(inferencer.model, 2), 0
        for number in range(16):
            content = picture(value=10 * number)
            answer = client.post(f'/api/cameras/{name}', content=content)
            prediction = recognizer.push(decode_picture(content, LIMITS))
            if prediction is None:
                assert answer.json() is None
                continue
            result, count = answer.json(), count + 1
            assert result['top'][0]['label'] == prediction.scores.argmax()
            assert result['top'][0]['score'] == pytest.approx(prediction.scores.max(), abs=1e-5)
            assert result['latency'] > 0
        assert count == 3

    def test_comes_and_goes(self, client, picture, monkeypatch):
        names = [client.post('/api/cameras').json()['camera'] for _ in range(LIMITS.cameras)]
        answer = client.post('/api/cameras')
        check(answer, 503, 'no more cameras')
        assert answer.headers['retry-after'] == '5'
        assert client.delete(f'/api/cameras/{names[0]}').status_code == 204
        assert client.get('/api/info').json()['cameras'] == 1
        check(client.post(f'/api/cameras/{names[0]}', content=picture()), 410, 'film again')
        monkeypatch.setattr(module, 'IDLE_SECONDS', 0)
        assert client.get('/api/info').json()['cameras'] == 0
        check(client.post(f'/api/cameras/{names[1]}', content=picture()), 410, 'film again')

    def test_late_frames_are_dropped_while_the_model_is_busy(self, client, busy, picture):
        """So that neither latency nor memory grows, and no segment spans a gap."""
        cameras = client.app.state.api.cameras
        with ThreadPoolExecutor(1) as pool:
            name = client.post('/api/cameras').json()['camera']
            first = pool.submit(client.post, f'/api/cameras/{name}', content=picture())
            wait(lambda: cameras[name].is_busy)
            for _ in range(20):
                answer = client.post(f'/api/cameras/{name}', content=picture())
                assert (answer.status_code, answer.json()) == (200, None)
            busy.set()
            assert first.result(60).status_code == 200
            assert cameras[name].index == 20
