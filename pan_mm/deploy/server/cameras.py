"""Recognize what a visitor's live camera sees while it films."""

import io
import math
import threading
import time
from concurrent.futures import Executor, Future
from typing import Optional

import numpy as np
import torch
from PIL import Image
from starlette.exceptions import HTTPException

from pan_mm.datasets.container import MOST_SLENDER
from pan_mm.deploy.streaming.events import ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.deploy.streaming.sources import Frame
from pan_mm.inference.inferencer import PANInferencer

from .limits import Limits
from .pictures import live_picture

IDLE_SECONDS = 10.0  # without a frame, after which a camera is closed
MAX_GAP = 1.0  # seconds between frames that a segment may span
# A scan of a few bytes costs a pass over the whole image: a progressive JPEG of 100 KB can take
# a minute. A browser's canvas writes one scan; three are for separate color planes.
SCAN, SCANS = b'\xff\xda', 3


class Camera:
    """A live camera, followed by a thread of its own until it falls silent.

    Late frames are dropped as of any live source, so that neither latency nor memory grows.

    Args:
        inferencer (PANInferencer): Its model is streamed, its classes are named.
        stride (int): Frames from one segment to the next.
        model_thread (Executor): Where the model runs.
        idle_seconds (float, optional): Seconds without a frame that end it. Defaults to 10.

    Attributes:
        following (Future): Done when it is not followed anymore; its exception says why.
    """

    def __init__(
        self,
        inferencer: PANInferencer,
        stride: int,
        model_thread: Executor,
        idle_seconds: Optional[float] = IDLE_SECONDS,
    ) -> None:
        self.following: Future = Future()
        self._inferencer = inferencer
        self._model_thread = model_thread
        self._recognizer = StreamRecognizer(inferencer.model, stride)
        self._buffer = self._recognizer.buffer(patience=idle_seconds)
        self._smoother = ScoreSmoother(0.6)
        self._newest: Optional[tuple] = None  # not yet given
        self._peak = 0.0  # brightness of PA maps; otherwise noise shows up whenever nothing moves
        self._index = 0
        self._last = math.inf
        threading.Thread(target=self._follow, name='camera', daemon=True).start()

    def put(self, image: np.ndarray) -> None:
        """Take a frame, RGB, uint8, shape (H, W, 3), without waiting for the model."""
        now = time.perf_counter()
        if now - self._last > MAX_GAP:
            self._index += 1
        self._buffer.put(Frame(self._index, now, image, now))
        self._index += 1
        self._last = now

    def news(self) -> Optional[dict]:
        """Give the newest result, or None if it has been given before.

        Returns:
            dict | None: ``top``, smoothed; ``latency``, seconds from the arrival of the window's
            last frame to its scores; ``dropped``, frames left out because the server was too
            slow; ``pictures``.

        Raises:
            HTTPException: 410 if it is not followed anymore.
            Exception: What ended it.
        """
        if self.following.done():
            self.following.result()
            raise HTTPException(410, 'this camera is not followed anymore; film again')
        newest, self._newest = self._newest, None
        if newest is None:
            return None
        prediction, maps = newest
        answer = dict(
            **self._inferencer.result(torch.from_numpy(prediction.scores)),
            latency=round(prediction.latency, 4),
            dropped=self._buffer.dropped,
            pictures=[],
        )
        if maps is not None:
            self._peak = max(0.95 * self._peak, float(np.percentile(maps, 99.5)))
            answer['pictures'].append(live_picture(maps, self._peak))
        return answer

    def close(self) -> None:
        """End its thread soon."""
        self._buffer.end()

    def _follow(self):
        try:
            for frame in self._buffer:
                push = self._model_thread.submit(
                    self._recognizer.push, frame.image, frame.timestamp, frame.index, frame.captured
                )
                prediction = push.result()
                if prediction is not None:
                    smooth = prediction._replace(scores=self._smoother(prediction.scores))
                    self._newest = smooth, self._recognizer.pa_maps
        except Exception as error:  # for the request that asks for news
            self.following.set_exception(error)
        else:
            self.following.set_result(None)


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
