import numpy as np
import pytest

from pan_mm.deploy.streaming.events import Event, EventDetector


def detect(detector, scores, window=2.0):
    """Feed the scores of one class, a prediction a second."""
    events = []
    for second, score in enumerate(scores):
        events += detector.update(np.array([score, 0.0]), second, second + window)
    return events, detector.finish()


def test_hysteresis_bridges_scores_between_the_thresholds():
    ended, open_ = detect(EventDetector(0.5, 0.3), [0.4, 0.6, 0.4, 0.35, 0.9, 0.2, 0.4])
    assert ended == [Event(label=0, start=1, end=6, score=0.9)]
    assert open_ == []


@pytest.mark.parametrize('min_duration, count', [(2.0, 1), (2.5, 0)])
def test_min_duration(min_duration, count):
    for scores in ([0.6, 0.6, 0.6, 0.0], [0.6, 0.6, 0.6]):  # ended, and still in progress
        events = sum(detect(EventDetector(min_duration=min_duration), scores), [])
        assert len(events) == count


def test_events_of_a_class_do_not_overlap():
    ended, _ = detect(EventDetector(0.5, 0.3), [0.6, 0.1, 0.7, 0.1], window=4.0)
    assert ended == [Event(0, 0, 4, 0.6), Event(0, 4, 6, 0.7)]


def test_classes_are_independent():
    detector = EventDetector(0.4, 0.4)
    assert detector.update(np.array([0.5, 0.5]), 0, 1) == []
    assert detector.update(np.array([0.2, 0.8]), 1, 2) == [Event(0, 0, 1, 0.5)]
    assert detector.finish() == [Event(1, 0, 2, 0.8)]


@pytest.mark.parametrize('on, off', [(0.3, 0.5), (0.5, 0), (1.2, 0.5)])
def test_senseless_thresholds(on, off):
    with pytest.raises(ValueError, match='0 < off <= on <= 1'):
        EventDetector(on, off)
