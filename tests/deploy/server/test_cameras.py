"""Live cameras; ``test_browser.py`` films with a real browser."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from starlette.exceptions import HTTPException

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server import cameras as module
from pan_mm.deploy.server.cameras import Camera, Cameras, decode_picture
from pan_mm.deploy.server.limits import Limits
from pan_mm.deploy.streaming.events import ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import FileSource

from .conftest import wait

STRIDE = 2
LIMITS = Limits(max_input=100 * 100)


@pytest.fixture
def model_thread():
    with ThreadPoolExecutor(1) as thread:
        yield thread


@pytest.fixture
def open_camera(inferencer, model_thread, monkeypatch):
    """Makes a camera; however long the machine takes from frame to frame, a film has no gaps."""
    monkeypatch.setattr(module, 'MAX_GAP', float('inf'))
    opened = []

    def make(inferencer=inferencer, idle_seconds=None):
        opened.append(Camera(inferencer, STRIDE, model_thread, idle_seconds))
        return opened[-1]

    yield make
    for camera in opened:
        camera.close()
        wait(lambda camera=camera: not camera.alive)


def film(camera, video):
    """Give it frames, each when the one before has been taken; a slow machine drops none."""
    for frame in FileSource(video):
        camera.put(frame.image)
        wait(lambda: not camera._buffer._frames)
        yield frame


def test_same_scores_as_the_stream_engine(inferencer, open_camera, videos):
    """Each result is that of the frames so far, smoothed."""
    recognizer, smoother = StreamRecognizer(inferencer.model, STRIDE), ScoreSmoother(0.6)
    camera, seen = open_camera(), []

    def next_result():
        result = camera.news()
        if result is not None and result['top']:
            seen.append(result)
        return seen

    for frame in film(camera, videos / '3.mp4'):
        prediction = recognizer.push(frame.image, frame.timestamp, frame.index)
        if prediction is None:
            continue
        count = len(seen)
        wait(lambda count=count: len(next_result()) > count)
        best, scores = seen[-1]['top'][0], smoother(prediction.scores)
        assert best['label'] == scores.argmax()
        assert best['score'] == pytest.approx(scores.max(), abs=1e-5)
    assert len(seen) == 13
    assert seen[-1]['dropped'] == seen[-1]['missing'] == 0
    assert seen[-1]['fps'] > 0 and seen[-1]['latency'] > 0
    assert seen[-1]['pictures'][0]['image'].startswith('data:image/png;base64,')
    assert camera.news() is None


def test_latency_and_memory_are_bounded_while_the_model_is_busy(open_camera, model_thread, videos):
    camera = open_camera()
    frames = [frame.image for frame in FileSource(videos / '0.mp4')]
    busy = model_thread.submit(time.sleep, 1)
    for number in range(200):
        camera.put(frames[number % len(frames)])
    assert len(camera._buffer._frames) <= camera._buffer.capacity
    assert camera._buffer.dropped > 150
    busy.result()
    for _ in film(camera, videos / '0.mp4'):  # whole segments follow again
        pass
    wait(lambda: camera.result and camera.result['top'])
    assert camera.result['dropped'] > 150


def test_silence_ends_it(open_camera):
    camera = open_camera(idle_seconds=0.05)
    camera.put(np.zeros((48, 64, 3), np.uint8))
    wait(lambda: not camera.alive)


def test_a_failure_is_known_and_ends_no_thread(open_camera, monkeypatch, caplog):
    camera = open_camera()
    monkeypatch.setattr(camera._recognizer, '_transforms', lambda results: {})
    for _ in range(3):
        camera.put(np.zeros((48, 64, 3), np.uint8))
    wait(lambda: camera.failure)
    assert 'a camera could not be followed' in caplog.text
    assert camera.alive


def test_scores_that_are_not_finite(make_config, open_camera, videos):
    broken = PANInferencer(make_config(), device='cpu')
    torch.nn.init.constant_(broken.model.cls_head.fc_cls.weight, float('nan'))
    camera = open_camera(broken)
    for _ in film(camera, videos / '3.mp4'):
        pass
    wait(lambda: camera.failure)
    assert 'not finite numbers' in camera.failure
    assert camera.result is None or not camera.result['top']


class TestCameras:
    @pytest.fixture
    def cameras(self, inferencer, model_thread):
        analyzer = SimpleNamespace(
            inferencer=inferencer, stride=STRIDE, model_thread=model_thread, limits=LIMITS
        )
        cameras = Cameras(analyzer, None)
        yield cameras
        cameras.close_all()

    def test_one_state_per_camera(self, cameras):
        one, other = cameras.open(), cameras.open()
        assert cameras.get(one) is cameras.get(one) is not cameras.get(other)
        assert cameras.count() == 2
        cameras.close('nothing')
        cameras.close(one)
        assert cameras.count() == 1

    def test_the_silent_make_room(self, cameras):
        for _ in range(LIMITS.cameras):
            name = cameras.open()
        camera = cameras.get(name)
        with pytest.raises(HTTPException, match='as many cameras'):
            cameras.open()
        camera.close()  # as silence would
        wait(lambda: not camera.alive)
        with pytest.raises(HTTPException, match='not followed') as refusal:
            cameras.get(name)
        assert refusal.value.status_code == 410
        cameras.open()

    def test_a_failure_is_told(self, cameras):
        name = cameras.open()
        cameras.get(name).failure = 'it broke'
        with pytest.raises(HTTPException, match='it broke'):
            cameras.get(name)


class TestPicture:
    @staticmethod
    def claiming(content, width, height):
        """A picture whose header says another size."""
        at = content.index(b'\xff\xc0') + 5
        return content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]

    def refused(self, content, status, message):
        with pytest.raises(HTTPException, match=message) as refusal:
            decode_picture(content, LIMITS)
        assert refusal.value.status_code == status

    def test_is_rgb(self, picture):
        image = decode_picture(picture(value=200), LIMITS)
        assert image.shape == (48, 64, 3)
        assert image.dtype == np.uint8
        assert abs(image.reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 3

    def test_is_shrunk_to_the_limit(self, picture):
        assert decode_picture(picture(200, 150), LIMITS).shape == (75, 100, 3)

    def test_too_large(self, picture):
        self.refused(picture(201, 200), 413, '201 × 200')
        self.refused(picture(1000, 10), 413, '1000 × 10')  # scaling would make it huge
        self.refused(self.claiming(picture(), 6000, 5000), 413, '6000 × 5000')
        self.refused(self.claiming(picture(), 60000, 50000), 413, 'too large')

    def test_not_a_picture(self, picture):
        for content in (b'', b'no picture', picture()[:600]):
            self.refused(content, 422, 'is not a picture')

    def test_a_scan_is_cheap_to_send_and_dear_to_decode(self, picture):
        """Scans of a few bytes, of which each costs a pass over the picture."""
        self.refused(picture(progressive=True), 422, 'not progressive')
        whole = picture(200, 150)
        start = whole.index(b'\xff\xda')
        length = int.from_bytes(whole[start + 2 : start + 4], 'big')
        scan = whole[start : start + 2 + length] + b'\0\0'
        self.refused(whole[:start] + 8000 * scan + b'\xff\xd9', 422, 'one scan')
