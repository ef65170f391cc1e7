"""The HTTP API in process; ``test_server.py`` asks a real server."""

import io
import os
import time

import pytest
import torch

from pan_mm.apis import PANInferencer

pytest.importorskip('fastapi', reason='the extra demo is not installed')
testclient = pytest.importorskip('starlette.testclient')

from pan_mm.serving.analysis import VideoAnalyzer  # noqa: E402
from pan_mm.serving.http import create_api  # noqa: E402
from pan_mm.serving.limits import Limits, Refusal, check_video  # noqa: E402

LIMITS = Limits(max_bytes=300_000, waiting=1, timeout=300)


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture
def analyzer(inferencer):
    return VideoAnalyzer(inferencer, LIMITS, stride=2)


@pytest.fixture
def client(analyzer, tmp_path):
    app = create_api(analyzer, tmp_path)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        yield client
    assert os.listdir(tmp_path) == []  # whatever happened


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
        self.check(post(client, b'hello' * 100), 422, 'is no video')

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

    def test_a_message_is_smaller_than_a_video(self, client):
        address = '/gradio_api/stream/event'  # of a camera's frame; the page is not there
        assert client.post(address, content=bytes(LIMITS.max_bytes + 1)).status_code == 404
        self.check(client.post(address, content=bytes(2**22 + 1)), 413, 'larger than 4 MiB')

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
        monkeypatch.setattr(analyzer.inferencer, 'pipeline', lambda results: {})
        answer = post(client, videos / '0.mp4')
        self.check(answer, 500, 'its log says more')
        monkeypatch.undo()
        assert post(client, videos / '0.mp4').status_code == 200


def test_frames_too_large_for_the_network(inferencer, videos):
    analyzer = VideoAnalyzer(inferencer, LIMITS._replace(max_input=64 * 64 - 1))
    with pytest.raises(Refusal, match='64 × 64 pixels are too many') as refusal:
        analyzer(videos / '0.mp4')
    assert refusal.value.status == 413


def test_a_video_that_does_not_say_how_long_it_is(inferencer, videos, tmp_path):
    """Browsers record such files."""
    av = pytest.importorskip('av', reason='PyAV is not installed')
    path = tmp_path / 'video.webm'

    class Pipe:  # that cannot seek back to note the length
        def __init__(self):
            self.file = path.open('wb')
            self.write = self.file.write

    pipe = Pipe()
    with av.open(str(videos / '3.mp4')) as source, av.open(pipe, 'w', 'matroska') as target:
        stream = target.add_stream('mpeg4', 25)
        stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
        for frame in source.decode(video=0):
            frame.pict_type = 0
            target.mux(stream.encode(frame.reformat(format='yuv420p')))
        target.mux(stream.encode())
    pipe.file.close()
    assert check_video(path, LIMITS) == 0
    analysis = VideoAnalyzer(inferencer, LIMITS, stride=2)(path, timeline=True)
    (expected,) = inferencer(videos / '3.mp4')
    assert analysis.top[0]['label'] == expected['top'][0]['label']
    assert len(analysis.timeline.times) == 13
    assert os.listdir(tmp_path) == [path.name]


def test_no_time(inferencer, videos, tmp_path):
    analyzer = VideoAnalyzer(inferencer, LIMITS, stride=2)
    client = testclient.TestClient(create_api(analyzer, tmp_path))
    analyzer.limits = LIMITS._replace(timeout=0)  # from when the video is there
    with analyzer.gate.turn(time.monotonic()):
        answer = post(client, videos / '0.mp4')
    assert answer.status_code == 503
    assert 'busy for too long' in answer.json()['error']


def test_a_timeline_stops_when_the_time_is_over(inferencer, videos):
    analyzer = VideoAnalyzer(inferencer, LIMITS, stride=2)
    assert analyzer.follow(videos / '3.mp4', 36, deadline=0) is None
    full = analyzer.follow(videos / '3.mp4', 36, deadline=time.monotonic() + 60)
    assert full.complete and len(full.times) == 13
    short = VideoAnalyzer(inferencer, LIMITS._replace(max_seconds=0.8), stride=2)
    part = short.follow(videos / '3.mp4', 0, deadline=time.monotonic() + 60)
    assert not part.complete
    assert (part.scores == full.scores[: len(part.times)]).all()


@pytest.mark.slow
def test_an_exported_model_has_no_timeline(inferencer, config, checkpoint, videos, tmp_path):
    from pan_mm.export.exporter import export

    export(config, checkpoint, tmp_path / 'a.pt2')
    analyzer = VideoAnalyzer(PANInferencer(config, tmp_path / 'a.pt2'), LIMITS)
    analysis = analyzer(videos / '3.mp4', inspect=True, timeline=True)
    assert (analysis.inspection, analysis.timeline) == (None, None)
    (expected,) = inferencer(videos / '3.mp4')
    assert analysis.top[0]['label'] == expected['top'][0]['label']
