"""Recognition of what visitors' cameras see, while they film."""

import io
import logging
import math
import secrets
import threading
import time
from collections import deque
from typing import NamedTuple, Optional

import numpy as np
import torch
from PIL import Image

from pan_mm.deploy.streaming.events import EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import Frame
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.utils.errors import CheckpointError
from pan_mm.visualization import paint_maps

from .limits import Deadline, Gate, Limits, Refusal

PATIENCE = 10.0  # seconds without a frame after which a camera is forgotten
BREAK = 1.0  # seconds between frames that no segment may span
EVENTS = 5  # newest ones kept
# A scan of a few bytes costs a pass over the whole image: a progressive JPEG of 100 KB can take
# a minute. A browser's canvas writes one scan; three are for separate color planes.
SCAN, SCANS = b'\xff\xda', 3


class LiveResult(NamedTuple):
    """What is known of a camera's stream at a moment.

    Attributes:
        top (list[dict]): As ``PANInferencer`` gives it, smoothed; empty before the first window.
        events (list[Event]): The newest ones, including those in progress.
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
        self.failed = ''  # why it can no longer be followed
        self.result: Optional[LiveResult] = None
        self.shown: Optional[LiveResult] = None  # what its visitor has seen
        self._inferencer = inferencer
        self._recognizer = StreamRecognizer(inferencer.model, stride)
        self._buffer = self._recognizer.buffer(patience=patience)
        self._gate = gate
        self._timeout = timeout
        self._arrivals = deque(maxlen=50)
        self._peak = 0.0  # brightness of PA maps; otherwise noise shows up whenever nothing moves
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
        except Exception as error:
            logging.getLogger(__name__).exception('a camera could not be followed')
            self.failed = 'the server failed at this camera; its log says more'
            if isinstance(error, CheckpointError):
                self.failed = str(error)
            for _ in self._buffer:  # until its visitor has seen the message and gone
                pass

    def _follow(self, frame):
        try:
            with self._gate.turn(Deadline(self._timeout)):
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
    """The cameras that are followed, each by the name that its visitor was told.

    Args:
        inferencer (PANInferencer): Recognizes what they see.
        stride (int): Frames from one segment to the next.
        gate (Gate): Lets one at a time to the model.
        limits (Limits): ``cameras``, ``max_input`` and ``timeout`` count.
    """

    def __init__(self, inferencer: PANInferencer, stride: int, gate: Gate, limits: Limits) -> None:
        self._make = lambda: Camera(inferencer, stride, gate, limits.timeout, PATIENCE)
        self._limits = limits
        self._cameras = {}  # name: (client, camera)
        self._lock = threading.Lock()

    def open(self, client: str) -> str:
        """Follow a camera more.

        Args:
            client (str): Whose address. One may have half of the cameras.

        Returns:
            str: Its name, which nobody can guess.

        Raises:
            Refusal: 429 if this client films enough, 503 if too many film.
        """
        with self._lock:
            self._forget_silent()
            own = sum(owner == client for owner, _ in self._cameras.values())
            if len(self._cameras) >= self._limits.cameras:
                raise Refusal(
                    503, 'as many cameras as this server can follow are on; try again later'
                )
            if own >= max(1, self._limits.cameras // 2):
                raise Refusal(429, f'{own} cameras of your address are on; close one')
            name = secrets.token_urlsafe(16)
            self._cameras[name] = client, self._make()
        return name

    def feed(self, name: str, picture: bytes) -> Camera:
        """Take a frame of a camera.

        Args:
            name (str): As :meth:`open` gave it.
            picture (bytes): A JPEG.

        Raises:
            Refusal: 410 if no such camera is followed, 413 if the picture is too large, 422 if it
                is not one.
        """
        if name not in self._cameras:
            raise Refusal(410, 'this camera is not followed any more; film again')
        image = decode_picture(picture, self._limits)
        with self._lock:
            self._forget_silent()
            _, camera = self._cameras.get(name, (None, None))
        if camera is None:
            raise Refusal(410, 'this camera is not followed any more; film again')
        camera.put(image)
        return camera

    def close(self, name: str) -> None:
        """Forget a camera, if there is one of this name."""
        with self._lock:
            _, camera = self._cameras.pop(name, (None, None))
        if camera is not None:
            camera.close()

    def count(self) -> int:
        """Cameras that are followed now."""
        with self._lock:
            self._forget_silent()
            return len(self._cameras)

    def _forget_silent(self):
        for name in [name for name, (_, camera) in self._cameras.items() if not camera.alive]:
            del self._cameras[name]


def decode_picture(picture: bytes, limits: Limits) -> np.ndarray:
    """Frame of a JPEG, shrunk to ``max_input`` pixels at most.

    Returns:
        np.ndarray: RGB, uint8, shape (H, W, 3).

    Raises:
        Refusal: 422 if it is not a JPEG, or one of many scans; 413 if it has more than four times
            ``max_input`` pixels.
    """
    try:
        if picture.count(SCAN) > SCANS:
            raise Refusal(422, 'a frame of the camera must be a JPEG of one scan, not progressive')
        image = Image.open(io.BytesIO(picture), formats=['JPEG'])
        if image.width * image.height > 4 * limits.max_input:
            raise Refusal(413, f'a frame has {image.width} × {image.height} pixels; film smaller')
        side = math.isqrt(limits.max_input)
        image.thumbnail((side, side))
        return np.array(image.convert('RGB'))
    except Image.DecompressionBombError as error:
        raise Refusal(413, 'a frame of the camera is too large; film smaller') from error
    except (ValueError, OSError) as error:
        raise Refusal(422, 'a frame of the camera is not a picture; film again') from error
