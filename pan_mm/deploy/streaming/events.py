"""Events in scores over time: smoothing, thresholds with hysteresis, durations."""

from typing import NamedTuple, Optional

import numpy as np


class Event(NamedTuple):
    """Something that was recognized over a span of a stream.

    Attributes:
        label (int): Its class.
        start (float): Start of the first window that showed it, in the stream's seconds.
        end (float): End of the last window that showed it.
        score (float): The highest probability meanwhile.
    """

    label: int
    start: float
    end: float
    score: float


class ScoreSmoother:
    """Exponential moving average of scores.

    Args:
        weight (float): Weight of the newest scores, in (0, 1]; 1 leaves them as they are.

    Raises:
        ValueError: If ``weight`` is outside (0, 1].
    """

    def __init__(self, weight: float) -> None:
        if not 0 < weight <= 1:
            raise ValueError(f'the weight of the newest scores must be in (0, 1], got {weight}')
        self.weight = weight
        self._scores: Optional[np.ndarray] = None

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Average ``scores``, shape (num_classes,), with those before."""
        if self._scores is not None:
            scores = self.weight * scores + (1 - self.weight) * self._scores
        self._scores = scores
        return scores


class EventDetector:
    """Detector of events in a sequence of predictions.

    A class is on from the first prediction with a score of at least ``on`` until one below
    ``off``. It makes an event if it stays on for ``min_duration``.

    Args:
        on (float): Probability at which an event starts. Defaults to 0.5.
        off (float): Probability below which it ends, at most ``on``. Defaults to 0.3.
        min_duration (float): Seconds from the first to the last prediction that an event must
            last, both counted at the end of their windows. Defaults to 0.

    Raises:
        ValueError: If not 0 < off <= on <= 1.
    """

    def __init__(self, on: float = 0.5, off: float = 0.3, min_duration: float = 0.0) -> None:
        if not 0 < off <= on <= 1:
            raise ValueError(f'thresholds must obey 0 < off <= on <= 1, got on={on}, off={off}')
        self.on = on
        self.off = off
        self.min_duration = min_duration
        self._active = {}  # label: (event so far, end of the first window)

    @property
    def active(self) -> list:
        """Events in progress, ``end`` being the newest prediction's."""
        return [event for event, since in self._active.values() if self._lasted(event, since)]

    def update(self, scores: np.ndarray, start: float, end: float) -> list:
        """Take in a prediction.

        Args:
            scores (np.ndarray): Probabilities, shape (num_classes,).
            start (float): Start of its window, seconds.
            end (float): End of its window, seconds.

        Returns:
            list[Event]: Those that ended with it.
        """
        ended = []
        for label in [label for label in self._active if scores[label] < self.off]:
            event, since = self._active.pop(label)
            if self._lasted(event, since):
                ended.append(event)
        for label in np.flatnonzero(scores >= self.off).tolist():
            score = float(scores[label])
            if label in self._active:
                event, since = self._active[label]
                event = event._replace(end=end, score=max(event.score, score))
                self._active[label] = event, since
            elif score >= self.on:
                self._active[label] = Event(label, start, end, score), end
        return ended

    def finish(self) -> list:
        """End the stream; return the events still in progress."""
        ended = self.active
        self._active.clear()
        return ended

    def _lasted(self, event, since):
        return event.end - since >= self.min_duration
