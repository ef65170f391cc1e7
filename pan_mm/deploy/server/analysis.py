"""Find out everything that the server tells about a video."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Optional

import anyio
import numpy as np
from mmaction.structures import ActionDataSample
from pebble import ProcessExpired

from pan_mm.deploy.streaming.events import EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.utils.errors import VideoError
from pan_mm.visualization import Inspection, inspect_clip

from .decoding import Clip, Decoder
from .limits import Limits

PREDICTIONS = 100  # approximate length of a timeline
TIMELINE_SHARE = 0.9  # of the time for a request, after which a timeline stops where it is


class Timeline(NamedTuple):
    """Scores of a window that slides over a video.

    Attributes:
        times (np.ndarray): End of each window in seconds, shape (P,), P at least 2.
        scores (np.ndarray): Smoothed probabilities, shape (P, num_classes).
        events (list[Event]): Actions that lasted, by their start.
        complete (bool): False if the time or the frames ran out before the video's end.
    """

    times: np.ndarray
    scores: np.ndarray
    events: list
    complete: bool


class Analysis(NamedTuple):
    """Everything about a video.

    Attributes:
        top (list[dict]): As ``PANInferencer`` gives it: label, name and score, the best first.
        inspection (Inspection | None): PA maps and VAP's weights, if asked for and the model has
            them.
        timeline (Timeline | None): If asked for and the video is long enough.
        seconds (dict[str, float]): Time taken by the parts, without waiting.
    """

    top: list
    inspection: Optional[Inspection]
    timeline: Optional[Timeline]
    seconds: dict


class VideoAnalyzer:
    """Recognizes videos for several requests at once; the model works on one at a time.

    Args:
        inferencer (PANInferencer): Recognizes the clip as a whole.
        limits (Limits): What a video may cost.
        stride (int): Frames from one segment of a timeline or a camera to the next. Defaults to 8.

    Attributes:
        model_thread (ThreadPoolExecutor): Runs the model, for the first who asks first.
        streams (bool): Whether the model can follow a video frame by frame.
    """

    def __init__(self, inferencer: PANInferencer, limits: Limits, stride: int = 8) -> None:
        self.inferencer = inferencer
        self.limits = limits
        self.stride = stride
        self.model_thread = ThreadPoolExecutor(1, 'model')
        self.decoder = Decoder(inferencer.pipeline, limits)
        try:
            recognizer = StreamRecognizer(inferencer.model, stride)
            image = np.zeros((240, 320, 3), np.uint8)
            recognizer.push(image, 0.0, stride // 2)  # does its test pipeline take frames?
            self.streams = True
        except (ValueError, AttributeError):  # an exported file, or not a PAN
            self.streams = False

    async def __call__(self, path: Path, inspect: bool = False, timeline: bool = False) -> Analysis:
        """Analyze a video file in a folder of its own.

        Args:
            path (Path): A file of the server's own.
            inspect (bool): Look inside the model too. Defaults to False.
            timeline (bool): Follow the video too, if it is longer than one window. Defaults to
                False.

        Raises:
            VideoTooLargeError: If it exceeds a limit.
            VideoError: If it is not a healthy video.
            CheckpointError: If the model gives scores that are not finite.
        """
        end = anyio.current_time() + TIMELINE_SHARE * self.limits.timeout
        clip = await self.decoder.clip(path)
        seconds = dict(decoding=clip.seconds)
        probabilities, inspection = await self._in_model_thread(
            self._recognize, clip, inspect, seconds
        )
        followed = None
        if timeline and self.streams:
            with _timed(seconds, 'timeline'):
                followed = await self.follow(path, clip.num_frames, end)
        return Analysis(self.inferencer.top(probabilities), inspection, followed, seconds)

    async def follow(self, path: Path, num_frames: int, end: float) -> Optional[Timeline]:
        """Slide the model's window over a video.

        Args:
            path (Path): A file that was decoded before, in a folder of its own.
            num_frames (int): Its frames.
            end (float): ``anyio.current_time()`` at which to stop.

        Returns:
            Timeline | None: None if the video is too short, or almost nothing of it decodes.
        """
        hop = max(1, num_frames // (self.stride * PREDICTIONS))
        recognizer = StreamRecognizer(self.inferencer.model, self.stride, hop)
        if num_frames < recognizer.first_prediction + self.stride * hop:
            return None
        smoother, detector = ScoreSmoother(0.6), EventDetector()
        times, scores, events = [], [], []
        complete = False
        frames = self.decoder.frames(path, self.stride, recognizer.segment_len)
        with anyio.CancelScope(deadline=end), suppress(VideoError, ProcessExpired):
            async with aclosing(frames):
                async for index, timestamp, image in frames:
                    if timestamp > self.limits.max_seconds:  # the file announced less
                        break
                    prediction = await self._in_model_thread(
                        recognizer.push, image, timestamp, index
                    )
                    if prediction is not None:
                        times.append(prediction.end)
                        scores.append(smoother(prediction.scores))
                        events += detector.update(scores[-1], prediction.start, prediction.end)
                else:
                    complete = True
        if len(times) < 2:
            return None
        events = sorted(events + detector.finish(), key=lambda event: event.start)
        return Timeline(np.array(times), np.stack(scores), events, complete)

    def _recognize(self, clip: Clip, inspect: bool, seconds: dict) -> tuple:
        """Probabilities (num_classes,) of a clip, and what is seen on the way."""
        with _timed(seconds, 'recognition'):
            data = dict(inputs=clip.inputs, data_samples=ActionDataSample())
            (probabilities,) = self.inferencer.probabilities([data])
        inspection = None
        if inspect:
            with _timed(seconds, 'inspection'), suppress(ValueError):  # not a PAN in Python
                inspection = inspect_clip(self.inferencer.model, clip.inputs)
        return probabilities, inspection

    def _in_model_thread(self, function, *args):
        return asyncio.get_running_loop().run_in_executor(self.model_thread, function, *args)


@contextmanager
def _timed(seconds: dict, part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = round(time.perf_counter() - began, 4)
