"""Cameras of visitors, in process; ``test_browser.py`` films with a real browser."""

import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

from pan_mm.apis import PANInferencer
from pan_mm.serving import live
from pan_mm.serving.limits import Gate, Limits, Refusal
from pan_mm.serving.live import JPEG, Camera, Cameras, decode_picture
from pan_mm.streaming.events import ScoreSmoother
from pan_mm.streaming.recognizer import StreamRecognizer
from pan_mm.streaming.sources import FileSource

STRIDE = 2
LIMITS = Limits(cameras=2, timeout=600, max_pixels=400 * 300, max_input=100 * 100)


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch):
    """However long the machine takes from frame to frame, a film has no breaks and no end."""
    monkeypatch.setattr(live, 'BREAK', float('inf'))
    monkeypatch.setattr(live, 'UNDER_WAY', float('inf'))
    monkeypatch.setattr(live, 'PATIENCE', None)


@pytest.fixture
def gate():
    return Gate(waiting=0)


@pytest.fixture
def cameras(inferencer, gate):
    cameras = Cameras(inferencer, STRIDE, gate, LIMITS)
    yield cameras
    for visitor in ('one', 'other'):
        cameras.leave(visitor)


def picture(width=64, height=48, value=100):
    file = io.BytesIO()
    Image.new('RGB', (width, height), (value, 0, 0)).save(file, 'JPEG')
    return JPEG + base64.b64encode(file.getvalue()).decode()


def wait(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_same_scores_as_the_stream_engine(inferencer, gate, videos):
    """Each result is that of the frames so far, smoothed."""
    recognizer, smoother = StreamRecognizer(inferencer.model, STRIDE), ScoreSmoother(0.6)
    camera = Camera(inferencer, STRIDE, gate, timeout=600)
    results = 0
    for frame in FileSource(videos / '3.mp4'):
        camera.put(frame.image)
        wait(lambda: not camera._buffer._frames)  # or a slow machine would drop some
        prediction = recognizer.push(frame.image, frame.timestamp, frame.index)
        if prediction is None:
            continue
        before = camera.shown
        wait(lambda shown=before: camera.result is not shown and camera.result.top)
        camera.shown = camera.result
        best = camera.result.top[0]
        scores = smoother(prediction.scores)
        assert best['label'] == scores.argmax()
        assert best['score'] == pytest.approx(scores.max(), abs=1e-5)
        assert camera.result.latency > 0
        results += 1
    assert results == 13
    assert camera.result.dropped == camera.result.missing == 0
    assert camera.result.fps > 0
    maps = camera.result.maps  # (m - 1, H, W, 3)
    assert maps.shape == (3, 64, 64, 3)
    assert maps.std() > 5  # something moves
    camera.close()
    wait(lambda: not camera.alive)


def test_latency_and_memory_are_bounded_while_the_model_is_busy(inferencer, gate, videos):
    camera = Camera(inferencer, STRIDE, gate, timeout=600)
    frames = [frame.image for frame in FileSource(videos / '0.mp4')]
    with gate.turn(time.monotonic()):
        for number in range(200):
            camera.put(frames[number % len(frames)])
        assert len(camera._buffer._frames) <= camera._buffer.capacity
        assert camera._buffer.dropped > 150
    wait(lambda: not camera._buffer._frames)
    for frame in frames:  # whole segments follow again
        camera.put(frame)
        wait(lambda: not camera._buffer._frames)
    wait(lambda: camera.result and camera.result.top)
    assert camera.result.dropped > 150
    camera.close()


def test_silence_ends_it(inferencer, gate):
    camera = Camera(inferencer, STRIDE, gate, timeout=600, patience=0.05)
    camera.put(np.zeros((48, 64, 3), np.uint8))
    wait(lambda: not camera.alive)


def test_a_failure_is_known_and_ends_no_thread(inferencer, gate, monkeypatch, caplog):
    camera = Camera(inferencer, STRIDE, gate, timeout=600)
    monkeypatch.setattr(camera._recognizer, '_transforms', lambda results: {})
    for _ in range(3):
        camera.put(np.zeros((48, 64, 3), np.uint8))
    wait(lambda: camera.failed)
    assert 'a camera could not be followed' in caplog.text
    assert camera.alive
    camera.close()
    wait(lambda: not camera.alive)


class TestCameras:
    def test_one_state_per_visitor(self, cameras):
        one, other = cameras.feed('one', picture()), cameras.feed('other', picture())
        assert cameras.feed('one', picture()) is one
        assert one is not other
        assert cameras.count() == 2

    def test_no_more_than_the_limit(self, cameras):
        cameras.feed('one', picture())
        cameras.feed('other', picture())
        with pytest.raises(Refusal, match='as many cameras') as refusal:
            cameras.feed('third', picture())
        assert refusal.value.status == 503
        cameras.leave('one')
        cameras.leave('nobody')
        assert cameras.count() == 1
        cameras.feed('third', picture())
        cameras.leave('third')

    def test_leaving_ends_the_thread(self, cameras):
        camera = cameras.feed('one', picture())
        cameras.leave('one')
        wait(lambda: not camera.alive)
        assert cameras.count() == 0

    def test_a_frame_that_comes_after_its_visitor_left_opens_nothing(self, cameras, monkeypatch):
        cameras.feed('one', picture())
        cameras.leave('one')
        with pytest.raises(Refusal, match='closed') as refusal:
            cameras.feed('one', picture())
        assert refusal.value.status == 410
        assert cameras.count() == 0
        monkeypatch.setattr(live, 'UNDER_WAY', 0.0)  # as if long ago
        cameras.feed('one', picture())
        assert cameras.count() == 1

    def test_the_silent_make_room(self, cameras):
        camera = cameras.feed('one', picture())
        camera.close()  # as patience would
        wait(lambda: not camera.alive)
        assert cameras.count() == 0
        assert cameras.feed('one', picture()) is not camera


class TestPicture:
    def test_is_rgb(self):
        image = decode_picture(picture(value=200), LIMITS)
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8
        assert abs(image.reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 3

    def test_is_shrunk_to_the_limit(self):
        assert decode_picture(picture(400, 300), LIMITS).shape == (75, 100, 3)

    def test_too_large(self):
        with pytest.raises(Refusal, match='401 × 300') as refusal:
            decode_picture(picture(401, 300), LIMITS)
        assert refusal.value.status == 413

    @pytest.mark.parametrize(
        'text',
        [
            *('', '/etc/passwd', 'http://127.0.0.1/a.jpg', 'file:///etc/passwd', JPEG),
            *(JPEG + 'no base64!', JPEG + base64.b64encode(b'no picture').decode()),
            picture()[:600],
        ],
    )
    def test_no_picture(self, text):
        with pytest.raises(Refusal, match='is no picture') as refusal:
            decode_picture(text, LIMITS)
        assert refusal.value.status == 422
