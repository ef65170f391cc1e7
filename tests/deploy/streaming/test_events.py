import numpy as np
import pytest

from pan_mm.deploy.streaming.events import Event, EventDetector, ScoreSmoother


def detect(detector, scores, window=2.0):
    """Feed the scores of one class, a prediction a second."""
    events = []
    for second, score in enumerate(scores):
        events += detector.update(np.array([score, 0.0]), second, second + window)
    return events, detector.finish()


class TestEventDetector:
    def test_hysteresis_bridges_scores_between_the_thresholds(self):
        ended, open_ = detect(EventDetector(0.5, 0.3), [0.4, 0.6, 0.4, 0.35, 0.9, 0.2, 0.4])
        assert ended == [Event(label=0, start=1, end=6, score=0.9)]
        assert open_ == []

    def test_what_goes_on_at_the_end_is_finished(self):
        assert detect(EventDetector(), [0.1, 0.8]) == ([], [Event(0, 1, 3, 0.8)])

    @pytest.mark.parametrize('min_duration, count', [(2.0, 1), (2.5, 0)])
    def test_min_duration(self, min_duration, count):
        ended, _ = detect(EventDetector(min_duration=min_duration), [0.6, 0.6, 0.6, 0.0])
        assert len(ended) == count

    def test_classes_are_independent(self):
        detector = EventDetector(0.4, 0.4)
        assert detector.update(np.array([0.5, 0.5]), 0, 1) == []
        assert detector.update(np.array([0.2, 0.8]), 1, 2) == [Event(0, 0, 1, 0.5)]
        assert detector.active == [Event(1, 0, 2, 0.8)]

    @pytest.mark.parametrize('on, off', [(0.3, 0.5), (0.5, 0), (1.2, 0.5)])
    def test_senseless_thresholds(self, on, off):
        with pytest.raises(ValueError, match='0 < off <= on <= 1'):
            EventDetector(on, off)


class TestScoreSmoother:
    def test_moving_average(self):
        smoother = ScoreSmoother(0.25)
        assert smoother(np.array([1.0, 0.0])).tolist() == [1.0, 0.0]
        assert smoother(np.array([0.0, 1.0])).tolist() == [0.75, 0.25]
        assert smoother(np.array([0.0, 1.0])).tolist() == [0.5625, 0.4375]

    def test_weight_out_of_range(self):
        with pytest.raises(ValueError, match=r'\(0, 1\]'):
            ScoreSmoother(0)
