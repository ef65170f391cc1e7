"""Counts for Prometheus, in the registry of the process."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120)

REQUESTS = Counter('pan_mm_requests', 'Answers', ['route', 'status'])
REQUEST_SECONDS = Histogram(
    'pan_mm_request_seconds',
    'From the headers of a request to its answer',
    ['route'],
    buckets=SECONDS,
)
WORK_SECONDS = Histogram(
    'pan_mm_work_seconds', 'Parts of the work on a video', ['part'], buckets=SECONDS
)
UNDER_WAY = Gauge('pan_mm_requests_under_way', 'Requests not yet answered')
BODY_BYTES = Gauge('pan_mm_body_bytes', 'Bytes of their bodies')
PLACES = Gauge('pan_mm_places', 'Videos that may be worked on or wait')
PLACES_TAKEN = Gauge('pan_mm_places_taken', 'Videos that are worked on or wait')
CAMERAS = Gauge('pan_mm_cameras', 'Live cameras that are followed')
KILLED = Counter('pan_mm_decoders_killed', 'Decoding processes killed before they were done')
