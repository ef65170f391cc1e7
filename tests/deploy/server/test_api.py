"""The HTTP API, in process; ``test_process.py`` asks a real server."""

import asyncio
import io
import os
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.dataset import Compose

from pan_mm.apis import PANInferencer

pytest.importorskip('prometheus_client', reason='the extra demo is not installed')
testclient = pytest.importorskip('starlette.testclient')

from prometheus_client import REGISTRY  # noqa: E402

from pan_mm.deploy.server import middleware  # noqa: E402
from pan_mm.deploy.server.analysis import VideoAnalyzer  # noqa: E402
from pan_mm.deploy.server.app import Access, create_app  # noqa: E402
from pan_mm.deploy.server.cameras import Cameras  # noqa: E402
from pan_mm.deploy.server.limits import Limits  # noqa: E402

TOKEN = '0123456789abcdef'
LIMITS = Limits(max_bytes=300_000, waiting=1, timeout=600, cameras=2)
FORM = {'Content-Type': 'multipart/form-data; boundary=b'}


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """Where videos are while they are worked on."""
    (tmp_path / 'uploads').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'uploads'))
    yield tmp_path / 'uploads'
    assert list((tmp_path / 'uploads').glob('pan_mm*')) == []  # whatever happened


@pytest.fixture
def analyzer(inferencer):
    return VideoAnalyzer(inferencer, LIMITS, stride=2)


@pytest.fixture
def open_client(analyzer, uploads):
    """Makes a client of an application."""

    def make(hosts=('testserver',), token=None, analyzer=analyzer):
        access = Access(list(hosts), token)
        app = create_app(analyzer, Cameras(analyzer, None), 'a model', access)
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
        assert 'timeline' not in result and 'pictures' not in result

    def test_timeline(self, client, videos):
        result = post(client, videos / '3.mp4', params=dict(timeline=True)).json()
        predictions = result['timeline']['predictions']
        # 4 segments of 4 frames, 2 apart, from the second frame on: the first ends with the 11th
        assert [p['time'] for p in predictions] == pytest.approx(
            [frame / 25 for frame in range(10, 36, 2)], abs=1e-3
        )
        assert result['timeline']['complete']

    def test_short_video_has_no_timeline(self, client, videos):
        result = post(client, videos / '0.mp4', params=dict(timeline=True)).json()
        assert 'timeline' not in result

    def test_pictures(self, client, videos):
        result = post(client, videos / '3.mp4', params=dict(pictures=1, timeline=1)).json()
        assert [picture['name'] for picture in result['pictures']] == ['maps', 'weights', 'times']
        for picture in result['pictures']:
            assert picture['image'].startswith('data:image/png;base64,')
            assert picture['title'] and picture['words']

    def test_info(self, client, inferencer):
        answer = client.get('/api/info').json()
        assert answer['classes'] == inferencer.classes
        assert answer['limits']['bytes'] == LIMITS.max_bytes
        assert answer['title'] == 'a model'

    def test_name_of_the_upload_is_not_used(self, client, videos, tmp_path):
        target = tmp_path / 'elsewhere'
        for name in (f'../../{target.name}', str(target)):
            assert post(client, videos / '0.mp4', name=name).status_code == 200
        assert not target.exists()

    def test_a_folder_that_was_removed_is_made_again(self, client, videos, uploads):
        assert post(client, videos / '0.mp4').status_code == 200
        uploads.rmdir()
        assert post(client, videos / '0.mp4').status_code == 200


class TestRefusals:
    @pytest.mark.real_data
    @pytest.mark.parametrize('name', ['empty.mp4', 'zeros.mp4', 'truncated_no_moov_maybe.mp4'])
    def test_no_video(self, client, clips_dir, uploads, name):
        answer = post(client, clips_dir / 'negative' / name)
        check(answer, 422, 'the file')
        assert str(uploads) not in answer.text

    def test_a_path_is_no_video(self, client, videos):
        check(client.post('/api/predict', data=dict(video=str(videos))), 415, "form's file")
        for file in (dict(video=(None, str(videos / '0.mp4'))), dict(other=('a.mp4', b'0'))):
            check(client.post('/api/predict', files=file), 422, 'no file "video"')

    @pytest.mark.parametrize('address', ['/api/predict', '/api/docs'])
    def test_no_such_address(self, client, address):
        check(client.get(address), 404, 'POST /api/predict')

    def test_forms(self, client):
        file, field = ('a.mp4', b'0'), (None, 'value')
        two = client.post('/api/predict', files=[('video', file), ('video', file)])
        check(two, 400, 'Too many files')
        check(client.post('/api/predict', files=[('name', field)] * 999), 400, 'Too many fields')
        headers = {'Content-Type': 'multipart/form-data'}
        check(client.post('/api/predict', content=b'0', headers=headers), 400, 'boundary')

    @pytest.mark.parametrize('charset', ['undefined', 'idna', 'zlib_codec', 'nonsense'])
    def test_charset_of_a_form(self, client, charset):
        headers = {'Content-Type': f'{FORM["Content-Type"]}; charset={charset}'}
        body = b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--b--\r\n'
        answer = client.post('/api/predict', content=body, headers=headers)
        assert answer.status_code in (400, 422)
        assert 'error' in answer.json()

    def test_too_large(self, client):
        check(post(client, bytes(LIMITS.max_bytes + 1)), 413, 'larger than 0.286 MiB')
        chunks = (bytes(50_000) for _ in range(8))  # without saying so
        answer = client.post('/api/predict', content=chunks, headers=FORM)
        check(answer, 413, 'larger than 0.286 MiB')
        answer = client.post('/api/cameras/x', content=bytes(2**20 + 1))
        check(answer, 413, 'larger than 1 MiB')

    def test_too_many_bytes_at_once(self, client, monkeypatch, videos):
        monkeypatch.setattr(middleware, 'UPLOADS', 0)
        check(post(client, videos / '0.mp4'), 503, 'too many videos')
        monkeypatch.undo()
        assert client.app.state.requests.body_bytes == 0

    def test_wrong_option(self, client, videos):
        answer = post(client, videos / '0.mp4', params=dict(timeline='perhaps'))
        check(answer, 422, 'true or false')

    def test_the_servers_own_fault(self, client, analyzer, videos, monkeypatch):
        monkeypatch.setattr(analyzer.decoder, '_pipeline', Compose([]))
        check(post(client, videos / '0.mp4'), 500, 'its log says more')
        monkeypatch.undo()
        assert post(client, videos / '0.mp4').status_code == 200

    def test_scores_that_are_not_finite(self, make_config, videos, open_client):
        model = PANInferencer(make_config(), device='cpu')
        torch.nn.init.constant_(model.model.cls_head.fc_cls.weight, float('nan'))
        with open_client(analyzer=VideoAnalyzer(model, LIMITS, stride=2)) as client:
            check(post(client, videos / '0.mp4'), 500, 'not finite')


class TestWaiting:
    @pytest.fixture
    def busy(self, analyzer):
        """Keeps the model busy until it is set."""
        free = threading.Event()
        analyzer.model_thread.submit(free.wait, 300)
        yield free
        free.set()

    @pytest.fixture
    def waiting(self, client, busy, videos):
        """Two uploads, of which one has the model's turn next; there are no more places."""
        with ThreadPoolExecutor(2) as pool:
            found = [pool.submit(post, client, videos / '0.mp4') for _ in range(2)]
            while REGISTRY.get_sample_value('pan_mm_places_taken') < 2:
                time.sleep(0.01)
            yield found
            busy.set()

    def test_queue_is_full(self, client, waiting, busy, videos):
        answer = post(client, videos / '0.mp4')
        check(answer, 503, 'busy')
        assert answer.headers['retry-after'] == '5'
        assert client.get('/healthz').status_code == 200
        busy.set()
        assert [future.result().status_code for future in waiting] == [200, 200]

    def test_the_server_ends(self, client, waiting, videos):
        """What is under way gets 503 when its time is over, and new requests at once."""
        client.app.state.requests.is_draining = True
        answer = post(client, videos / '0.mp4')
        check(answer, 503, 'shutting down')
        assert answer.headers['connection'] == 'close'
        assert client.get('/healthz').status_code == 200
        assert client.get('/readyz').status_code == 503
        client.portal.call(client.app.state.requests.cancel)
        for future in waiting:
            check(future.result(), 503, 'shutting down')

    def test_no_turn_in_time(self, inferencer, open_client, videos):
        hasty = VideoAnalyzer(inferencer, LIMITS._replace(timeout=3))
        hasty.decoder.wait()
        free = threading.Event()
        hasty.model_thread.submit(free.wait, 300)
        with open_client(analyzer=hasty) as client:
            check(post(client, videos / '0.mp4'), 503, 'no answer within 3 s')
            free.set()
            assert post(client, videos / '0.mp4').status_code == 200

    def test_a_timeline_stops_when_its_time_is_over(self, inferencer, videos, tmp_path):
        async def follow(seconds, **limits):
            analyzer = VideoAnalyzer(inferencer, LIMITS._replace(**limits), stride=2)
            end = asyncio.get_running_loop().time() + seconds
            try:
                return await analyzer.follow(path, 36, end)
            finally:
                analyzer.decoder.close()
                path.with_name('frames').unlink()

        path = tmp_path / '3.mp4'
        path.write_bytes((videos / '3.mp4').read_bytes())
        assert asyncio.run(follow(0)) is None
        full = asyncio.run(follow(300))
        assert full.complete and len(full.times) == 13
        part = asyncio.run(follow(300, max_seconds=0.8))
        assert not part.complete
        assert (part.scores == full.scores[: len(part.times)]).all()


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
            {'Sec-Fetch-Site': 'cross-site'},
            {'Sec-Fetch-Site': 'same-site', 'Origin': 'http://localhost:3000'},
            {'Origin': 'http://evil.example'},
            {'Origin': 'http://testserver:81'},
            {'Origin': 'null'},
            {'Origin': 'http://['},
        ],
    )
    def test_no_other_sites_page(self, client, videos, headers):
        check(post(client, videos / '0.mp4', headers=headers), 403, 'site')
        check(client.post('/api/cameras', headers=headers), 403, 'site')
        assert client.get('/api/info').json()['cameras'] == 0

    def test_its_own_page(self, client):
        """Also behind a proxy that speaks TLS."""
        for scheme in ('http', 'https'):
            headers = {'Origin': f'{scheme}://testserver', 'Sec-Fetch-Site': 'same-origin'}
            assert client.post('/api/cameras', headers=headers).status_code == 201

    def test_token(self, open_client, videos):
        with open_client(token=TOKEN) as client:
            for path in ('/api/info', '/metrics', '/api/cameras/x'):
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

    @pytest.mark.parametrize('path', ['/../app.py', '/%2e%2e/app.py', '//etc/passwd'])
    def test_page_is_all_there_is(self, client, path):
        assert client.get(path).status_code == 404


def test_decoders_that_cannot_be_started(client, analyzer, monkeypatch):
    assert client.get('/readyz').status_code == 200
    monkeypatch.setattr(analyzer.decoder, 'start', lambda: False)
    check(client.get('/readyz'), 503, 'restart the server')


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
        ('pan_mm_work_seconds_count{part="recognition"}', 1),
    ):
        assert after[name] - before.get(name, 0) == change, name
    assert after['pan_mm_places'] == 2
    for name in ('places_taken', 'body_bytes', 'cameras', 'decoders_killed_total'):
        assert after[f'pan_mm_{name}'] == before[f'pan_mm_{name}']
    assert after['process_open_fds'] > 0


class TestCamera:
    def test_films(self, client, inferencer, picture):
        name = client.post('/api/cameras').json()['camera']
        assert client.get('/api/info').json()['cameras'] == 1
        result, end = None, time.monotonic() + 120
        while not (result and result['top']):
            assert time.monotonic() < end
            answer = client.post(f'/api/cameras/{name}', content=picture())
            assert answer.status_code == 200, answer.text
            result = answer.json() or result
        assert result['top'][0]['name'] in inferencer.classes
        assert result['pictures'][0]['image'].startswith('data:image/png;base64,')
        assert {'events', 'latency', 'fps', 'dropped', 'missing'} <= set(result)
        assert client.delete(f'/api/cameras/{name}').status_code == 204
        assert client.get('/api/info').json()['cameras'] == 0
        check(client.post(f'/api/cameras/{name}', content=picture()), 410, 'film again')

    def test_no_more_than_the_limit(self, client):
        for _ in range(LIMITS.cameras):
            name = client.post('/api/cameras').json()['camera']
        answer = client.post('/api/cameras')
        check(answer, 503, 'as many cameras')
        assert answer.headers['retry-after'] == '5'
        client.delete(f'/api/cameras/{name}')
        assert client.post('/api/cameras').status_code == 201

    def test_not_a_picture(self, client):
        name = client.post('/api/cameras').json()['camera']
        check(client.post(f'/api/cameras/{name}', content=b'no picture'), 422, 'not a picture')


@pytest.mark.slow
def test_an_exported_model_has_no_timeline(config, checkpoint, videos, tmp_path, open_client):
    from pan_mm.deploy.export.exporter import export

    export(config, checkpoint, tmp_path / 'a.onnx')
    exported = PANInferencer(config, tmp_path / 'a.onnx')
    with open_client(analyzer=VideoAnalyzer(exported, LIMITS)) as client:
        answer = post(client, videos / '3.mp4', params=dict(pictures=1, timeline=1)).json()
        check(client.post('/api/cameras'), 404, 'cannot follow')
    assert 'timeline' not in answer and answer['pictures'] == []
    (expected,) = exported(videos / '3.mp4')
    assert answer['top'][0]['label'] == expected['top'][0]['label']


def test_uploads_are_in_a_folder_of_their_own(client, analyzer, videos, uploads):
    """Others on the machine may not read it."""
    seen = []
    clip = analyzer.decoder.clip

    async def look(path):
        seen.append(os.stat(path.parent).st_mode & 0o777)
        return await clip(path)

    analyzer.decoder.clip = look
    assert post(client, videos / '0.mp4').status_code == 200
    assert seen == [0o700]
