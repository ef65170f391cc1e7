"""Cameras of visitors, in process; ``test_browser.py`` films with a real browser."""

import io
import struct
import time

import numpy as np
import pytest
import torch
from PIL import Image

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server import live
from pan_mm.deploy.server.limits import Deadline, Gate, Limits, Refusal
from pan_mm.deploy.server.live import Camera, Cameras, decode_picture
from pan_mm.deploy.streaming.events import ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import FileSource

STRIDE = 2
LIMITS = Limits(cameras=3, timeout=600, max_input=100 * 100)


@pytest.fixture(scope='module')
def inferencer(config, checkpoint):
    return PANInferencer(config, checkpoint, device='cpu')


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch):
    """However long the machine takes from frame to frame, a film has no breaks and no end."""
    monkeypatch.setattr(live, 'BREAK', float('inf'))
    monkeypatch.setattr(live, 'PATIENCE', None)


@pytest.fixture
def gate():
    return Gate(waiting=0)


@pytest.fixture
def cameras(inferencer, gate):
    cameras = Cameras(inferencer, STRIDE, gate, LIMITS)
    yield cameras
    for name in list(cameras._cameras):
        cameras.close(name)


def picture(width=64, height=48, value=100, **options):
    file = io.BytesIO()
    Image.new('RGB', (width, height), (value, 0, 0)).save(file, 'JPEG', **options)
    return file.getvalue()


def claiming(width, height):
    """A small picture whose header says another size."""
    content = picture()
    at = content.index(b'\xff\xc0') + 5
    return content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]


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
    with gate.turn(Deadline(0)):
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


def test_scores_that_are_not_finite(make_config, gate, videos):
    broken = PANInferencer(make_config(), device='cpu')
    torch.nn.init.constant_(broken.model.cls_head.fc_cls.weight, float('nan'))
    camera = Camera(broken, STRIDE, gate, timeout=600)
    for frame in FileSource(videos / '3.mp4'):
        camera.put(frame.image)
        wait(lambda: not camera._buffer._frames)
    wait(lambda: camera.failed)
    assert 'not finite numbers' in camera.failed
    assert camera.result is None or not camera.result.top
    camera.close()
    wait(lambda: not camera.alive)


class TestCameras:
    def test_one_state_per_camera(self, cameras):
        one, other = cameras.open('here'), cameras.open('there')
        camera = cameras.feed(one, picture())
        assert cameras.feed(one, picture()) is camera
        assert cameras.feed(other, picture()) is not camera
        assert cameras.count() == 2

    def test_no_more_than_the_limit(self, cameras):
        first, *_ = [cameras.open(client) for client in ('one', 'other', 'third')]
        with pytest.raises(Refusal, match='as many cameras') as refusal:
            cameras.open('fourth')
        assert refusal.value.status == 503
        cameras.close(first)
        cameras.close('nothing')
        assert cameras.count() == 2
        cameras.open('fourth')

    def test_one_client_may_not_have_all(self, cameras):
        cameras.open('one')
        with pytest.raises(Refusal, match='1 cameras of your address') as refusal:
            cameras.open('one')
        assert refusal.value.status == 429

    def test_closing_ends_the_thread(self, cameras):
        name = cameras.open('here')
        camera = cameras.feed(name, picture())
        cameras.close(name)
        wait(lambda: not camera.alive)
        assert cameras.count() == 0
        with pytest.raises(Refusal, match='not followed') as refusal:  # a frame on its way
            cameras.feed(name, picture())
        assert refusal.value.status == 410

    def test_the_silent_make_room(self, cameras):
        camera = cameras.feed(cameras.open('here'), picture())
        camera.close()  # as patience would
        wait(lambda: not camera.alive)
        assert cameras.count() == 0
        cameras.open('here')


class TestPicture:
    def test_is_rgb(self):
        image = decode_picture(picture(value=200), LIMITS)
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8
        assert abs(image.reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 3

    def test_is_shrunk_to_the_limit(self):
        assert decode_picture(picture(200, 150), LIMITS).shape == (75, 100, 3)

    @pytest.mark.parametrize(
        ('content', 'status', 'message'),
        [
            (picture(201, 200), 413, '201 × 200'),
            (claiming(6000, 5000), 413, '6000 × 5000'),
            (claiming(60000, 50000), 413, 'too large'),
            (picture(progressive=True), 422, 'not progressive'),
            *((content, 422, 'is not a picture') for content in (b'', b'no picture')),
            (picture()[:600], 422, 'is not a picture'),
        ],
    )
    def test_refused(self, content, status, message):
        with pytest.raises(Refusal, match=message) as refusal:
            decode_picture(content, LIMITS)
        assert refusal.value.status == status

    def test_a_scan_is_cheap_to_send_and_dear_to_decode(self):
        """Scans of a few bytes, of which each costs a pass over the picture."""
        whole = picture(200, 150)
        start = whole.index(b'\xff\xda')
        length = int.from_bytes(whole[start + 2 : start + 4], 'big')
        scan = whole[start : start + 2 + length] + b'\0\0'
        with pytest.raises(Refusal, match='one scan'):
            decode_picture(whole[:start] + 8000 * scan + b'\xff\xd9', LIMITS)
