"""Live cameras; ``test_browser.py`` films with a real browser."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from starlette.exceptions import HTTPException

from pan_mm.apis import PANInferencer
from pan_mm.deploy.server import cameras as module
from pan_mm.deploy.server.cameras import Camera, decode_picture
from pan_mm.deploy.server.limits import Limits
from pan_mm.deploy.streaming.events import ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import FileSource
from pan_mm.utils.errors import CheckpointError

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
        camera.following.exception(60)


def film(camera, video):
    """Give it frames, each when the one before has been taken; a slow machine drops none."""
    for frame in FileSource(video):
        camera.put(frame.image)
        wait(lambda: camera.following.done() or not camera._buffer._frames)
        yield frame


def test_same_scores_as_the_stream_engine(inferencer, open_camera, videos):
    """Each result is that of the frames so far, smoothed."""
    recognizer, smoother = StreamRecognizer(inferencer.model, STRIDE), ScoreSmoother(0.6)
    camera, count = open_camera(), 0
    for frame in film(camera, videos / '3.mp4'):
        prediction = recognizer.push(frame.image, frame.timestamp, frame.index)
        if prediction is None:
            continue
        result, scores = wait(camera.news), smoother(prediction.scores)
        assert result['top'][0]['label'] == scores.argmax()
        assert result['top'][0]['score'] == pytest.approx(scores.max(), abs=1e-5)
        assert result['dropped'] == 0 and result['latency'] > 0
        assert result['pictures'][0]['image'].startswith('data:image/png;base64,')
        count += 1
    assert count == 13
    assert camera.news() is None


def test_latency_and_memory_are_bounded_while_the_model_is_busy(open_camera, model_thread, videos):
    camera = open_camera()
    frames = [frame.image for frame in FileSource(videos / '0.mp4')]
    busy = model_thread.submit(time.sleep, 1)
    for number in range(200):
        camera.put(frames[number % len(frames)])
    assert len(camera._buffer._frames) <= camera._buffer.capacity
    assert camera._buffer.dropped > 150
    busy.result(60)
    for _ in film(camera, videos / '0.mp4'):  # whole segments follow again
        pass
    assert wait(camera.news)['dropped'] > 150


def test_silence_ends_it(open_camera):
    camera = open_camera(idle_seconds=0.05)
    camera.put(np.zeros((48, 64, 3), np.uint8))
    assert camera.following.result(60) is None
    with pytest.raises(HTTPException, match='film again') as refusal:
        camera.news()
    assert refusal.value.status_code == 410


def test_scores_that_are_not_finite(make_config, open_camera, videos):
    broken = PANInferencer(make_config(), device='cpu')
    torch.nn.init.constant_(broken.model.cls_head.fc_cls.weight, float('nan'))
    camera = open_camera(broken)
    for _ in film(camera, videos / '3.mp4'):
        pass
    with pytest.raises(CheckpointError, match='not finite numbers'):
        wait(camera.news)


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
