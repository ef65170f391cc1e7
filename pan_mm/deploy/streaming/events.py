"""Events in scores over time: a threshold with hysteresis, and a minimum duration."""

from typing import NamedTuple

import numpy as np


class Event(NamedTuple):
    """A class over a span of a stream: from the first to the last window that showed it, seconds.

    Windows overlap, events of a class do not: one begins where the last one ended, or later.
    ``score`` is the highest probability meanwhile.
    """

    label: int
    start: float
    end: float
    score: float


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
        self._last_end = {}  # label: end of its last event

    def update(self, scores: np.ndarray, start: float, end: float) -> list:
        """Take in probabilities, shape (num_classes,), of a window; return the events it ended."""
        ended = self._end([label for label in self._active if scores[label] < self.off])
        for label in np.flatnonzero(scores >= self.off).tolist():
            score = float(scores[label])
            if label in self._active:
                event, since = self._active[label]
                event = event._replace(end=end, score=max(event.score, score))
                self._active[label] = event, since
            elif score >= self.on:
                begin = max(start, self._last_end.get(label, start))
                self._active[label] = Event(label, begin, end, score), end
        return ended

    def finish(self) -> list:
        """End the stream; return the events still in progress."""
        return self._end(list(self._active))

    def _end(self, labels):
        ended = [self._active.pop(label) for label in labels]
        events = [event for event, since in ended if event.end - since >= self.min_duration]
        self._last_end.update({event.label: event.end for event in events})
        return events
