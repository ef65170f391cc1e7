"""What the server finds out about a video."""

import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from mmaction.structures import ActionDataSample

from pan_mm.deploy.streaming.events import EventDetector, ScoreSmoother
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.visualization import Inspection, inspect_clip

from .decoding import Decoder
from .limits import Deadline, Gate, Limits, Refusal, Turns
from .live import Cameras

PREDICTIONS = 100  # approximate length of a timeline
DECODERS = 2  # clips at a time; as many timelines, which take longer


class Timeline(NamedTuple):
    """Scores of a window that slides over a video.

    Attributes:
        times (np.ndarray): End of each window in seconds, shape (P,), P at least 2.
        scores (np.ndarray): Probabilities, shape (P, num_classes).
        events (list[Event]): What was recognized over a span.
        complete (bool): Whether the time sufficed for the whole video.
    """

    times: np.ndarray
    scores: np.ndarray
    events: list
    complete: bool


class Analysis(NamedTuple):
    """All about a video.

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
    """Recognizes videos for many who ask at once, one after the other.

    Args:
        inferencer (PANInferencer): Recognizes the clip as a whole.
        limits (Limits): What a video may cost.
        stride (int): Frames from one segment of a timeline to the next. Defaults to 8.
    """

    def __init__(self, inferencer: PANInferencer, limits: Limits, stride: int = 8) -> None:
        self.inferencer = inferencer
        self.limits = limits
        self.stride = stride
        self.gate = Gate(limits.waiting)
        self.cameras = Cameras(inferencer, stride, self.gate, limits)
        self.decoder = Decoder(inferencer.pipeline, limits)
        self._clips, self._timelines = Turns(DECODERS), Turns(DECODERS)
        try:
            recognizer = StreamRecognizer(inferencer.model, stride)
            image = np.zeros((240, 320, 3), np.uint8)
            recognizer.push(image, 0.0, stride // 2)  # does its test pipeline take frames?
            self.streams = True
        except (ValueError, AttributeError):  # an exported file, or not a PAN
            self.streams = False

    def __call__(
        self, path: Path, deadline: Deadline, inspect: bool = False, timeline: bool = False
    ) -> Analysis:
        """Analyze a video file. The caller has a place in ``gate``.

        Args:
            path (Path): A file of the server's own.
            deadline (Deadline): When the answer must be there.
            inspect (bool): Look inside too. Defaults to False.
            timeline (bool): Follow it too, if it is longer than one window. Defaults to False.

        Raises:
            Refusal: 413 if it is too large, 422 if it is not a healthy video, 503 if there was no
                time for it.
            CheckpointError: If the model gives scores that are not finite.
        """
        with self._clips.turn(deadline):
            watch = Stopwatch()
            clip = self.decoder.clip(path, deadline)
            watch.stop('decoding')
        with self.gate.turn(deadline):
            watch.start()
            data = dict(inputs=clip.inputs, data_samples=ActionDataSample())
            (probabilities,) = self.inferencer.probabilities([data])
            watch.stop('recognition')
            inspection = None
            if inspect:
                with suppress(ValueError):  # not a PAN in Python
                    inspection = inspect_clip(self.inferencer.model, clip.inputs)
                watch.stop('inspection')
        followed = None
        if timeline and self.streams:
            followed = self.follow(path, clip.num_frames, deadline)
            watch.stop('timeline')
        return Analysis(self.inferencer.top(probabilities), inspection, followed, watch.seconds)

    def follow(self, path: Path, num_frames: int, deadline: Deadline) -> Optional[Timeline]:
        """Timeline of a video until ``deadline``; None if it is too short or OpenCV fails."""
        hop = max(1, num_frames // (self.stride * PREDICTIONS))
        recognizer = StreamRecognizer(self.inferencer.model, self.stride, hop)
        if num_frames < recognizer.first_prediction + self.stride * hop:
            return None
        smoother, detector = ScoreSmoother(0.6), EventDetector()
        times, scores, events = [], [], []
        complete = True
        segment = self.stride, recognizer.segment_len
        try:
            with (
                self._timelines.turn(deadline),
                closing(self.decoder.frames(path, deadline, segment)) as frames,
            ):
                for index, seconds, image in frames:
                    if seconds > self.limits.max_seconds:  # it was less specific
                        complete = False
                        break
                    with self.gate.turn(deadline):  # others come in between
                        prediction = recognizer.push(image, seconds, index)
                    if prediction is not None:
                        times.append(prediction.end)
                        scores.append(smoother(prediction.scores))
                        events += detector.update(scores[-1], prediction.start, prediction.end)
        except Refusal:  # no time or no frames left
            complete = False
        if len(times) < 2:
            return None
        events = sorted(events + detector.finish(), key=lambda event: event.start)
        return Timeline(np.array(times), np.stack(scores), events, complete)


class Stopwatch:
    """Seconds of parts that follow one another."""

    def __init__(self) -> None:
        self.seconds = {}
        self.start()

    def start(self) -> None:
        """Begin the next part now."""
        self._began = time.perf_counter()

    def stop(self, part: str) -> None:
        """Note the time of a part; the next one begins."""
        self.seconds[part] = round(time.perf_counter() - self._began, 4)
        self.start()
