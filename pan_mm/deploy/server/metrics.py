"""What Prometheus asks of the server."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from .analysis import VideoAnalyzer

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120)


class Metrics:
    """Counts of a server.

    Args:
        analyzer (VideoAnalyzer): Its queue, its cameras and its decoders are looked at.

    Attributes:
        registry (CollectorRegistry): To be written out.
        refused (dict[str, int]): Connections that were refused before a request, by reason.
        body_bytes (int): Bytes of bodies that are held now.
        bodies (int): Requests that are under way now.
    """

    def __init__(self, analyzer: VideoAnalyzer) -> None:
        self.registry = CollectorRegistry()
        self.refused: dict = {}
        self.body_bytes = self.bodies = 0
        self._analyzer = analyzer
        self._requests = Counter(
            'pan_mm_requests',
            'Answers, by address and status',
            ['route', 'status'],
            registry=self.registry,
        )
        self._seconds = Histogram(
            'pan_mm_request_seconds',
            'From the headers of a request to its answer',
            ['route'],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._parts = Histogram(
            'pan_mm_work_seconds',
            'Parts of a request',
            ['part'],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.registry.register(self)  # type: ignore[arg-type]
        ProcessCollector(registry=self.registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def worked(self, seconds: dict) -> None:
        """Count the parts of an analysis."""
        for part, value in seconds.items():
            self._parts.labels(part).observe(value)

    def collect(self) -> Iterator:
        """What is counted elsewhere."""
        gate = self._analyzer.gate
        for name, words, value in (
            ('places', 'Requests that may be served or wait', gate.capacity),
            ('places_taken', 'Requests that are served or wait', gate.taken),
            ('requests_under_way', 'Requests not yet answered', self.bodies),
            ('body_bytes', 'Bytes of request bodies that are held', self.body_bytes),
            ('cameras', 'Cameras that are followed', self._analyzer.cameras.count()),
        ):
            yield GaugeMetricFamily(f'pan_mm_{name}', words, value)
        killed = self._analyzer.decoder.killed
        yield CounterMetricFamily('pan_mm_decoders_killed', 'Ended from outside', killed)
        refused = CounterMetricFamily(
            'pan_mm_connections_refused', 'Before a request, by reason', labels=['reason']
        )
        for reason, count in self.refused.items():
            refused.add_metric([reason], count)
        yield refused
