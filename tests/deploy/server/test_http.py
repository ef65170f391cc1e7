"""The HTTP API in process; ``test_server.py`` asks a real server."""

import io
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from pan_mm.apis import PANInferencer

pytest.importorskip('prometheus_client', reason='the extra demo is not installed')
testclient = pytest.importorskip('starlette.testclient')

from pan_mm.deploy.server.analysis import VideoAnalyzer  # noqa: E402
from pan_mm.deploy.server.http import Access, create_app  # noqa: E402
from pan_mm.deploy.server.limits import Deadline, Limits  # noqa: E402

TOKEN = '0123456789abcdef'

LIMITS = Limits(max_bytes=300_000, waiting=1, timeout=600)


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture
def analyzer(inferencer):
    return VideoAnalyzer(inferencer, LIMITS, stride=2)


@pytest.fixture
def open_client(analyzer, tmp_path):
    """A client of an application with some access."""

    def make(hosts=('testserver',), token=None, analyzer=analyzer):
        app = create_app(analyzer, tmp_path, 'a model', Access(list(hosts), token))
        return testclient.TestClient(app, raise_server_exceptions=False)

    yield make
    assert os.listdir(tmp_path) == []  # whatever happened


@pytest.fixture
def client(open_client):
    with open_client() as client:
        yield client


def post(client, path_or_bytes, name='clip.mp4', **kwargs):
    content = path_or_bytes if isinstance(path_or_bytes, bytes) else path_or_bytes.read_bytes()
    return client.post('/api/predict', files=dict(video=(name, io.BytesIO(content))), **kwargs)


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
        assert 'timeline' not in result

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

    def test_name_of_the_upload_is_not_used(self, client, videos, tmp_path):
        target = tmp_path.parent / 'elsewhere'
        assert post(client, videos / '0.mp4', name=f'../{target.name}').status_code == 200
        assert post(client, videos / '0.mp4', name=str(target)).status_code == 200
        assert not target.exists()

    def test_info(self, client, inferencer):
        answer = client.get('/api/info').json()
        assert answer['classes'] == inferencer.classes
        assert answer['limits']['bytes'] == LIMITS.max_bytes
        assert answer['title'] == 'a model'

    def test_pictures(self, client, videos):
        result = post(client, videos / '3.mp4', params=dict(pictures=1, timeline=1)).json()
        assert [picture['name'] for picture in result['pictures']] == ['maps', 'weights', 'times']
        for picture in result['pictures']:
            assert picture['image'].startswith('data:image/png;base64,')
            assert picture['title'] and picture['words']
        assert 'pictures' not in post(client, videos / '3.mp4').json()


class TestRefusals:
    def check(self, answer, status, words):
        assert answer.status_code == status
        assert words in answer.json()['error']

    @pytest.mark.real_data
    @pytest.mark.parametrize('name', ['empty.mp4', 'zeros.mp4', 'truncated_no_moov_maybe.mp4'])
    def test_no_video(self, client, clips_dir, tmp_path, name):
        answer = post(client, clips_dir / 'negative' / name)
        self.check(answer, 422, 'the file')
        assert str(tmp_path) not in answer.text

    def test_text(self, client):
        self.check(post(client, b'hello' * 100), 422, 'the file: is not a video')

    def test_a_path_is_no_video(self, client, videos):
        answer = client.post('/api/predict', data=dict(video=str(videos / '0.mp4')))
        self.check(answer, 415, "form's file")
        answer = client.post('/api/predict', files=dict(video=(None, str(videos / '0.mp4'))))
        self.check(answer, 422, 'no file "video"')
        answer = client.post('/api/predict', files=dict(other=('a.mp4', b'0')))
        self.check(answer, 422, 'no file "video"')

    @pytest.mark.parametrize('address', ['/api/predict', '/api/docs'])
    def test_no_such_address(self, client, address):
        self.check(client.get(address), 404, 'POST /api/predict')

    def test_two_files(self, client, videos):
        file = ('a.mp4', (videos / '0.mp4').read_bytes())
        answer = client.post('/api/predict', files=[('video', file), ('video', file)])
        self.check(answer, 400, 'Too many files')

    def test_broken_form(self, client):
        headers = {'Content-Type': 'multipart/form-data'}
        self.check(client.post('/api/predict', content=b'0', headers=headers), 400, 'boundary')

    def test_too_large(self, client):
        self.check(post(client, bytes(LIMITS.max_bytes + 1)), 413, 'larger than 0.286')

    def test_too_large_without_saying_so(self, client):
        chunks = (bytes(50_000) for _ in range(8))
        headers = {'Content-Type': 'multipart/form-data; boundary=x'}
        answer = client.post('/api/predict', content=chunks, headers=headers)
        self.check(answer, 413, 'larger than')

    def test_a_frame_is_smaller_than_a_video(self, client):
        answer = client.post('/api/cameras/x', content=bytes(2**20 + 1))
        self.check(answer, 413, 'larger than 1 MiB')

    def test_a_thousand_fields(self, client):
        fields = [('name', (None, 'value'))] * 999
        self.check(client.post('/api/predict', files=fields), 400, 'Too many fields')

    def test_too_many_bytes_at_once(self, client, monkeypatch, videos):
        monkeypatch.setattr('pan_mm.deploy.server.doorkeeper.UPLOADS', 0)
        self.check(post(client, videos / '0.mp4'), 503, 'too many videos')
        monkeypatch.undo()
        assert post(client, videos / '0.mp4').status_code == 200
        assert client.app.state.metrics.body_bytes == client.app.state.metrics.bodies == 0

    def test_queue_is_full(self, client, analyzer, videos):
        with analyzer.gate.place(), analyzer.gate.place():
            answer = post(client, videos / '0.mp4')
        self.check(answer, 503, 'busy')
        assert answer.headers['retry-after'] == '5'
        assert post(client, videos / '0.mp4').status_code == 200

    def test_wrong_option(self, client, videos):
        answer = post(client, videos / '0.mp4', params=dict(timeline='perhaps'))
        self.check(answer, 422, 'true or false')

    def test_the_servers_own_fault(self, client, analyzer, videos, monkeypatch):
        monkeypatch.setattr(analyzer.decoder, '_pipeline', Compose([]))
        answer = post(client, videos / '0.mp4')
        self.check(answer, 500, 'its log says more')
        monkeypatch.undo()
        assert post(client, videos / '0.mp4').status_code == 200


class TestAccess:
    def test_only_its_own_names(self, open_client):
        """A name that an attacker lets point here (DNS rebinding) is not answered."""
        with open_client(['localhost', '[::1]']) as client:
            for host, status in (
                *(('localhost', 200), ('localhost:80', 200), ('[::1]:80', 200)),
                *(('evil.example', 400), ('localhost.evil.example', 400), ('', 400)),
            ):
                assert client.get('/api/info', headers=dict(host=host)).status_code == status, host
                assert client.get('/', headers=dict(host=host)).status_code == status, host

    def test_no_other_sites_page(self, client, videos):
        headers = {'Sec-Fetch-Site': 'cross-site'}
        assert post(client, videos / '0.mp4', headers=headers).status_code == 403

    def test_token(self, open_client, videos):
        with open_client(token=TOKEN) as client:
            for path in ('/api/info', '/metrics', '/api/cameras/x'):
                for given in ({}, {'Authorization': f'Bearer {TOKEN}x'}, {'Authorization': TOKEN}):
                    answer = client.request('GET', path, headers=given)
                    assert answer.status_code == 401, path
                    assert answer.headers['www-authenticate'] == 'Bearer'
            for path in ('/', '/page.js', '/healthz', '/readyz'):
                assert client.get(path).status_code == 200, path
            headers = {'Authorization': f'Bearer {TOKEN}'}
            assert post(client, videos / '0.mp4', headers=headers).status_code == 200
            assert client.get('/metrics', headers=headers).status_code == 200

    def test_page_asks_no_other_server(self, client):
        answer = client.get('/')
        assert "default-src 'none'" in answer.headers['content-security-policy']
        text = answer.text + client.get('/page.js').text + client.get('/page.css').text
        assert re.findall(r'(?:https?:)?//[\w.-]+\.\w+', text) == []

    @pytest.mark.parametrize('path', ['/../http.py', '/%2e%2e/http.py', '//etc/passwd'])
    def test_page_is_all_there_is(self, client, path):
        assert client.get(path).status_code == 404

    def test_draining(self, client, videos):
        client.app.state.life.is_draining = True
        answer = post(client, videos / '0.mp4')
        assert answer.status_code == 503
        assert answer.headers['connection'] == 'close'
        assert client.get('/healthz').status_code == 200
        assert client.get('/readyz').status_code == 503


def test_metrics(client, videos):
    post(client, videos / '0.mp4')
    post(client, b'no video')
    text = client.get('/metrics').text
    for line in (
        'pan_mm_requests_total{route="/api/predict",status="200"} 1.0',
        'pan_mm_requests_total{route="/api/predict",status="422"} 1.0',
        'pan_mm_request_seconds_count{route="/api/predict"} 2.0',
        'pan_mm_work_seconds_count{part="recognition"} 1.0',
        'pan_mm_places 2.0',
        'pan_mm_places_taken 0.0',
        'pan_mm_decoders_killed_total 0.0',
    ):
        assert f'{line}\n' in text, line


class TestCamera:
    @pytest.fixture
    def frame(self):
        file = io.BytesIO()
        Image.effect_noise((64, 48), 50).convert('RGB').save(file, 'JPEG')
        return file.getvalue()

    def test_films(self, client, inferencer, frame):
        name = client.post('/api/cameras').json()['camera']
        assert client.get('/api/info').json()['cameras'] == 1
        result, end = None, time.monotonic() + 120
        while time.monotonic() < end:
            answer = client.post(f'/api/cameras/{name}', content=frame)
            assert answer.status_code == 200, answer.text
            result = answer.json() or result
            if result and result['top']:
                break
        assert result['top'][0]['name'] in inferencer.classes
        assert result['pictures'][0]['image'].startswith('data:image/png;base64,')
        assert client.delete(f'/api/cameras/{name}').status_code == 204
        assert client.get('/api/info').json()['cameras'] == 0
        answer = client.post(f'/api/cameras/{name}', content=frame)
        assert answer.status_code == 410

    def test_one_client_may_not_have_all(self, client):
        names = [client.post('/api/cameras').json()['camera'] for _ in range(2)]
        answer = client.post('/api/cameras')
        assert (answer.status_code, answer.headers['retry-after']) == (429, '5')
        for name in names:
            client.delete(f'/api/cameras/{name}')

    def test_not_a_picture(self, client):
        name = client.post('/api/cameras').json()['camera']
        answer = client.post(f'/api/cameras/{name}', content=b'no picture')
        assert answer.status_code == 422
        client.delete(f'/api/cameras/{name}')


def test_scores_that_are_not_finite(make_config, videos, tmp_path, open_client):
    config = make_config()
    model = PANInferencer(config, device='cpu')
    torch.nn.init.constant_(model.model.cls_head.fc_cls.weight, float('nan'))
    with open_client(analyzer=VideoAnalyzer(model, LIMITS, stride=2)) as client:
        answer = post(client, videos / '0.mp4')
    assert answer.status_code == 500
    assert 'not finite' in answer.json()['error']


def test_no_turn_before_the_server_ends(client, analyzer, videos):
    with ThreadPoolExecutor(1) as pool, analyzer.gate.turn(Deadline(0)):
        waiting = pool.submit(post, client, videos / '0.mp4')
        while not analyzer.gate.taken:
            time.sleep(0.001)
        client.app.state.life.end()
        answer = waiting.result()
    assert answer.status_code == 503
    assert 'try again later' in answer.json()['error']


def test_a_timeline_stops_when_the_time_is_over(inferencer, videos):
    analyzer = VideoAnalyzer(inferencer, LIMITS, stride=2)
    assert analyzer.follow(videos / '3.mp4', 36, Deadline(0)) is None
    full = analyzer.follow(videos / '3.mp4', 36, Deadline(60))
    assert full.complete and len(full.times) == 13
    short = VideoAnalyzer(inferencer, LIMITS._replace(max_seconds=0.8), stride=2)
    part = short.follow(videos / '3.mp4', 36, Deadline(60))
    assert not part.complete
    assert (part.scores == full.scores[: len(part.times)]).all()


@pytest.mark.slow
def test_an_exported_model_has_no_timeline(inferencer, config, checkpoint, videos, tmp_path):
    from pan_mm.deploy.export.exporter import export

    export(config, checkpoint, tmp_path / 'a.pt2')
    analyzer = VideoAnalyzer(PANInferencer(config, tmp_path / 'a.pt2'), LIMITS)
    analysis = analyzer(videos / '3.mp4', Deadline(60), inspect=True, timeline=True)
    assert (analysis.inspection, analysis.timeline) == (None, None)
    (expected,) = inferencer(videos / '3.mp4')
    assert analysis.top[0]['label'] == expected['top'][0]['label']
