"""Recognition of what visitors' cameras see, while they film."""

import base64
import binascii
import io
import logging
import math
import threading
import time
from collections import deque
from typing import NamedTuple, Optional

import numpy as np
import torch
from PIL import Image

from pan_mm.inference.inferencer import PANInferencer
from pan_mm.streaming.events import EventDetector, ScoreSmoother
from pan_mm.streaming.recognizer import StreamRecognizer
from pan_mm.streaming.sources import Frame
from pan_mm.visualization import paint_maps

from .limits import Gate, Limits, Refusal

PATIENCE = 10.0  # seconds without a frame after which a camera is forgotten
UNDER_WAY = 5.0  # seconds in which frames that were sent before a visitor left may still come
BREAK = 1.0  # seconds between frames that no segment may span
EVENTS = 5  # newest ones that are kept
JPEG = 'data:image/jpeg;base64,'


class LiveResult(NamedTuple):
    """What is known of a camera's stream at a moment.

    Attributes:
        top (list[dict]): As ``PANInferencer`` gives it, smoothed; empty before the first window.
        events (list[Event]): The newest ones, those that go on included.
        latency (float): Seconds from the arrival of the newest window's last frame to its scores.
        fps (float): Frames that come in a second.
        dropped (int): Frames that were left out because the server was too slow.
        missing (int): Frames that must still come for the first window.
        maps (np.ndarray | None): PA maps of the newest segment as pictures, uint8, shape
            (m - 1, H, W, 3); None for the RGB stream.
    """

    top: list
    events: list
    latency: float
    fps: float
    dropped: int
    missing: int
    maps: Optional[np.ndarray]


class Camera:
    """One visitor's camera, followed by a thread of its own until it falls silent.

    Late frames are dropped as of any live source, so that neither latency nor memory grows.

    Args:
        inferencer (PANInferencer): Its model is streamed, its classes are named.
        stride (int): Frames from one segment to the next.
        gate (Gate): Where the model is waited for.
        timeout (float): Seconds to wait for it; then the frame is left out.
        patience (float): Seconds without a frame that end it. Defaults to 10.
    """

    def __init__(
        self,
        inferencer: PANInferencer,
        stride: int,
        gate: Gate,
        timeout: float,
        patience: float = PATIENCE,
    ) -> None:
        self.failed = False
        self.result: Optional[LiveResult] = None
        self.shown: Optional[LiveResult] = None  # what its visitor has already seen
        self._inferencer = inferencer
        self._recognizer = StreamRecognizer(inferencer.model, stride)
        self._buffer = self._recognizer.buffer(patience=patience)
        self._gate = gate
        self._timeout = timeout
        self._arrivals = deque(maxlen=50)
        self._peak = 0.0  # brightness of PA maps, or noise would shine whenever nothing moves
        self._smoother = ScoreSmoother(0.6)
        self._detector = EventDetector()
        self._events = deque(maxlen=EVENTS)
        self._index = 0
        self._began = self._last = time.perf_counter()
        self._thread = threading.Thread(target=self._run, name='pan_mm camera', daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it is still followed."""
        return self._thread.is_alive()

    def put(self, image: np.ndarray) -> None:
        """Take a frame, RGB, uint8, shape (H, W, 3); never waits for the model."""
        now = time.perf_counter()
        if now - self._last > BREAK:
            self._index += 1
            self._arrivals.clear()
        self._buffer.put(Frame(self._index, now - self._began, image, now))
        self._arrivals.append(now)
        self._index += 1
        self._last = now

    def close(self) -> None:
        """End its thread soon."""
        self._buffer.end()

    def _run(self):
        try:
            for frame in self._buffer:
                self._follow(frame)
        except Exception:
            logging.getLogger(__name__).exception('a camera could not be followed')
            self.failed = True
            for _ in self._buffer:  # until its visitor has seen the message and gone
                pass

    def _follow(self, frame):
        try:
            with self._gate.turn(time.monotonic() + self._timeout):
                prediction = self._recognizer.push(
                    frame.image, frame.timestamp, frame.index, frame.captured
                )
        except Refusal:
            return
        top, latency = [], 0.0
        if prediction is not None:
            scores = self._smoother(prediction.scores)
            self._events += self._detector.update(scores, prediction.start, prediction.end)
            top, latency = self._inferencer.top(torch.from_numpy(scores)), prediction.latency
        elif self.result is not None and (self.result.top or frame.index % 5):
            return
        self.result = LiveResult(
            top,
            [*self._events, *self._detector.active][-EVENTS:],
            latency,
            self._fps(),
            self._buffer.dropped,
            max(0, self._recognizer.first_prediction - frame.index - 1),
            self._paint(),
        )

    def _fps(self):
        arrivals = list(self._arrivals)
        elapsed = arrivals[-1] - arrivals[0] if arrivals else 0.0
        return (len(arrivals) - 1) / elapsed if elapsed > 0 else 0.0

    def _paint(self):
        maps = self._recognizer.pa_maps
        if maps is None:
            return None
        self._peak = max(0.95 * self._peak, float(np.percentile(maps, 99.5)))
        return paint_maps(maps, self._peak)


class Cameras:
    """The cameras that are followed, by their visitors.

    Args:
        inferencer (PANInferencer): Recognizes what they see.
        stride (int): Frames from one segment to the next.
        gate (Gate): Lets one at a time to the model.
        limits (Limits): ``cameras``, ``max_input``, ``max_pixels`` and ``timeout`` count.
    """

    def __init__(self, inferencer: PANInferencer, stride: int, gate: Gate, limits: Limits) -> None:
        self._make = lambda: Camera(inferencer, stride, gate, limits.timeout, PATIENCE)
        self._limits = limits
        self._cameras = {}
        self._left = {}  # when visitors left
        self._lock = threading.Lock()

    def feed(self, visitor: str, picture: str) -> Camera:
        """Take a frame of a visitor's camera; the first one opens it.

        Args:
            visitor (str): Who films.
            picture (str): A JPEG as an address, ``data:image/jpeg;base64,…``.

        Raises:
            Refusal: 422 if it is no picture, 413 if it is too large, 503 if too many film, 410 if
                the visitor has just left.
        """
        image = decode_picture(picture, self._limits)
        with self._lock:
            self._forget_silent()
            if visitor in self._left:
                raise Refusal(410, 'the page of this camera was closed')
            camera = self._cameras.get(visitor)
            if camera is None:
                if len(self._cameras) >= self._limits.cameras:
                    raise Refusal(
                        503, 'as many cameras as this server can follow are on; try again later'
                    )
                camera = self._cameras[visitor] = self._make()
        camera.put(image)
        return camera

    def leave(self, visitor: str) -> None:
        """Forget a visitor, who may have filmed."""
        with self._lock:
            self._left[visitor] = time.monotonic()
            camera = self._cameras.pop(visitor, None)
        if camera is not None:
            camera.close()

    def count(self) -> int:
        """Cameras that are followed now."""
        with self._lock:
            self._forget_silent()
            return len(self._cameras)

    def _forget_silent(self):
        for visitor in [name for name, camera in self._cameras.items() if not camera.alive]:
            del self._cameras[visitor]
        now = time.monotonic()
        self._left = {name: left for name, left in self._left.items() if now - left < UNDER_WAY}


def decode_picture(picture: str, limits: Limits) -> np.ndarray:
    """Frame of a JPEG that came as an address, shrunk to ``max_input`` pixels at most.

    Returns:
        np.ndarray: RGB, uint8, shape (H, W, 3).

    Raises:
        Refusal: 422 if it is no JPEG, 413 if it has more than ``max_pixels`` pixels.
    """
    try:
        if not picture.startswith(JPEG):
            raise ValueError('no JPEG')
        data = base64.b64decode(picture[len(JPEG) :], validate=True)
        image = Image.open(io.BytesIO(data), formats=['JPEG'])
        if image.width * image.height > limits.max_pixels:
            raise Refusal(413, f'a frame has {image.width} × {image.height} pixels; film smaller')
        side = math.isqrt(limits.max_input)
        image.thumbnail((side, side))
        return np.array(image.convert('RGB'))
    except (ValueError, OSError, binascii.Error) as error:
        raise Refusal(422, 'a frame of the camera is no picture; film again') from error
