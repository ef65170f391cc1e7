"""Recognize what visitors' live cameras see while they film."""

import io
import logging
import math
import secrets
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Optional

import numpy as np
import torch
from PIL import Image
from starlette.exceptions import HTTPException

from pan_mm.datasets.container import MOST_SLENDER
from pan_mm.deploy.streaming.events import EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import Frame
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.utils.errors import CheckpointError
from pan_mm.visualization import paint_maps

from .analysis import VideoAnalyzer
from .limits import Limits
from .messages import RETRY, events_json, live_json

IDLE_SECONDS = 10.0  # without a frame, after which a camera is closed
MAX_GAP = 1.0  # seconds between frames that a segment may span
EVENTS = 5  # newest ones kept
# A scan of a few bytes costs a pass over the whole image: a progressive JPEG of 100 KB can take
# a minute. A browser's canvas writes one scan; three are for separate color planes.
SCAN, SCANS = b'\xff\xda', 3


class Camera:
    """A live camera, followed by a thread of its own until it falls silent.

    Late frames are dropped as of any live source, so that neither latency nor memory grows.

    Args:
        inferencer (PANInferencer): Its model is streamed, its classes are named.
        stride (int): Frames from one segment to the next.
        model_thread (ThreadPoolExecutor): Where the model runs.
        idle_seconds (float, optional): Seconds without a frame that end it.

    Attributes:
        failure (str): Why it can no longer be followed; empty while it can.
        result (dict | None): The newest answer, see :func:`live_json`.
    """

    def __init__(
        self,
        inferencer: PANInferencer,
        stride: int,
        model_thread: ThreadPoolExecutor,
        idle_seconds: Optional[float],
    ) -> None:
        self.failure = ''
        self.result: Optional[dict] = None
        self._shown: Optional[dict] = None
        self._inferencer = inferencer
        self._recognizer = StreamRecognizer(inferencer.model, stride)
        self._buffer = self._recognizer.buffer(patience=idle_seconds)
        self._model_thread = model_thread
        self._arrivals = deque(maxlen=50)
        self._peak = 0.0  # brightness of PA maps; otherwise noise shows up whenever nothing moves
        self._smoother = ScoreSmoother(0.6)
        self._detector = EventDetector()
        self._events = deque(maxlen=EVENTS)
        self._index = 0
        self._began = self._last = time.perf_counter()
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether it is still followed."""
        return self._thread.is_alive()

    def put(self, image: np.ndarray) -> None:
        """Take a frame, RGB, uint8, shape (H, W, 3), without waiting for the model."""
        now = time.perf_counter()
        if now - self._last > MAX_GAP:
            self._index += 1
            self._arrivals.clear()
        self._buffer.put(Frame(self._index, now - self._began, image, now))
        self._arrivals.append(now)
        self._index += 1
        self._last = now

    def news(self) -> Optional[dict]:
        """Return the newest result, or None if it has been returned before."""
        result, before, self._shown = self.result, self._shown, self.result
        return None if result is before else result

    def close(self) -> None:
        """End its thread soon."""
        self._buffer.end()

    def _run(self):
        try:
            for frame in self._buffer:
                self._follow(frame)
        except Exception as error:
            logging.getLogger(__name__).exception('a camera could not be followed')
            self.failure = 'the server failed at this camera; its log says more'
            if isinstance(error, CheckpointError):
                self.failure = str(error)
            for _ in self._buffer:  # until its visitor has seen the message and gone
                pass

    def _follow(self, frame):
        push = self._model_thread.submit(
            self._recognizer.push, frame.image, frame.timestamp, frame.index, frame.captured
        )
        prediction = push.result()
        if prediction is not None:
            scores = self._smoother(prediction.scores)
            self._events += self._detector.update(scores, prediction.start, prediction.end)
            self.result = live_json(
                self._inferencer.top(torch.from_numpy(scores)),
                events_json(
                    [*self._events, *self._detector.active][-EVENTS:], self._inferencer.classes
                ),
                prediction.latency,
                *self._counts(frame),
                self._paint(),
            )
        elif self.result is None or not (self.result['top'] or frame.index % 5):
            self.result = live_json([], [], 0.0, *self._counts(frame))

    def _counts(self, frame):
        missing = max(0, self._recognizer.first_prediction - frame.index - 1)
        return self._fps(), self._buffer.dropped, missing

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
    """The cameras that are followed, by the names that their visitors were told.

    Args:
        analyzer (VideoAnalyzer): Its model recognizes what they see.
        idle_seconds (float, optional): Seconds without a frame that end a camera; None for never.
            Defaults to 10.
    """

    def __init__(
        self, analyzer: VideoAnalyzer, idle_seconds: Optional[float] = IDLE_SECONDS
    ) -> None:
        self._arguments = analyzer.inferencer, analyzer.stride, analyzer.model_thread, idle_seconds
        self._limits = analyzer.limits
        self._cameras: dict = {}

    def open(self) -> str:
        """Follow a camera more.

        Returns:
            str: Its name, which nobody can guess.

        Raises:
            HTTPException: 503 if too many are followed.
        """
        if self.count() >= self._limits.cameras:
            raise HTTPException(
                503, 'as many cameras as this server can follow are on; try again later', RETRY
            )
        name = secrets.token_urlsafe(16)
        self._cameras[name] = Camera(*self._arguments)
        return name

    def get(self, name: str) -> Camera:
        """Return the camera of a name.

        Raises:
            HTTPException: 410 if no such camera is followed, 500 if it failed.
        """
        self.count()
        if name not in self._cameras:
            raise HTTPException(410, 'this camera is not followed any more; film again')
        camera = self._cameras[name]
        if camera.failure:
            raise HTTPException(500, camera.failure)
        return camera

    def close(self, name: str) -> None:
        """Forget a camera, if there is one of this name."""
        if name in self._cameras:
            self._cameras.pop(name).close()

    def close_all(self) -> None:
        """Forget all cameras."""
        for name in list(self._cameras):
            self.close(name)

    def count(self) -> int:
        """Count the cameras that are followed now, and forget the others."""
        self._cameras = {name: each for name, each in self._cameras.items() if each.alive}
        return len(self._cameras)


def decode_picture(picture: bytes, limits: Limits) -> np.ndarray:
    """Decode a frame from a JPEG, shrunk to ``max_input`` pixels at most.

    Returns:
        np.ndarray: RGB, uint8, shape (H, W, 3).

    Raises:
        HTTPException: 422 if it is not a JPEG, or one of many scans; 413 if it has more than four
            times ``max_input`` pixels, or is more than 32 times as long as wide.
    """
    if picture.count(SCAN) > SCANS:
        raise HTTPException(
            422, 'a frame of the camera must be a JPEG of one scan, not progressive'
        )
    try:
        image = Image.open(io.BytesIO(picture), formats=['JPEG'])
        width, height = image.size
        is_slender = max(width, height) > MOST_SLENDER * min(width, height)
        if width * height > 4 * limits.max_input or is_slender:
            raise HTTPException(413, f'a frame has {width} × {height} pixels; film smaller')
        side = math.isqrt(limits.max_input)
        image.thumbnail((side, side))
        return np.array(image.convert('RGB'))
    except Image.DecompressionBombError as error:
        raise HTTPException(413, 'a frame of the camera is too large; film smaller') from error
    except (ValueError, OSError) as error:
        raise HTTPException(422, 'a frame of the camera is not a picture; film again') from error
