"""Check every request before the application sees it: origin, token, size and time."""

import hmac
import re
import time
from typing import Any, Optional

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from . import metrics
from .limits import Limits
from .messages import RETRY, error_json

# Scripts, styles and pictures of this server; nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b'content-security-policy', CONTENT_SECURITY_POLICY.encode()),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
    (b'cross-origin-resource-policy', b'same-origin'),
]
HEALTH = ('/healthz', '/readyz')
ROUTES = ('/', *HEALTH, '/metrics', '/api/info', '/api/predict', '/api/cameras')
SMALL_BODY = 2**20  # bytes of any body that is not a video
UPLOADS = 20  # largest videos that may be on their way at once


class State:
    """Requests that a server has under way.

    Attributes:
        is_draining (bool): New requests get 503.
        running (set[anyio.CancelScope]): One for each request under way, except health checks.
        body_bytes (int): Bytes of their bodies.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self.running: set = set()
        self.body_bytes = 0

    def cancel(self) -> None:
        """Answer all requests under way with 503 now."""
        for scope in self.running:
            scope.cancel()


class RequestMiddleware:
    """ASGI middleware in front of all others.

    Args:
        app: The application behind it.
        limits (Limits): ``max_bytes`` and ``timeout`` count.
        state (State): Knows the requests under way.
        token (str, optional): What a client of the API must show. Page and health are open.
    """

    def __init__(self, app, limits: Limits, state: State, token: Optional[str]) -> None:
        self.app = app
        self.limits = limits
        self.state = state
        self.token = token

    async def __call__(self, scope, receive, send):
        """Pass a request on, or answer it with an error."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        scope = _without_authority(scope)
        began, path, status = time.monotonic(), scope['path'], 0

        async def send_with_headers(message):
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
                close = [(b'connection', b'close')] if self.state.is_draining else []
                message['headers'] = [*message.get('headers', []), *HEADERS, *close]
            await send(message)

        largest = self.limits.max_bytes if path == '/api/predict' else SMALL_BODY
        body = _LimitedBody(receive, largest, self.limits, self.state)
        with metrics.UNDER_WAY.track_inprogress(), anyio.CancelScope() as running:
            if path not in HEALTH:
                self.state.running.add(running)
            try:
                self._check(scope, largest)
                await self.app(scope, body, send_with_headers)
            except HTTPException as error:
                answer = error_json(error.status_code, error.detail, error.headers)
                await answer(scope, receive, send_with_headers)
            finally:
                self.state.running.discard(running)
                body.release()
        if running.cancelled_caught and not status:
            answer = error_json(503, 'the server is shutting down; try again in a minute', RETRY)
            await answer(scope, receive, send_with_headers)
        if path not in ROUTES:
            path = 'camera' if path.startswith('/api/cameras/') else 'other'
        metrics.REQUESTS.labels(path, status or 500).inc()
        metrics.REQUEST_SECONDS.labels(path).observe(time.monotonic() - began)

    def _check(self, scope, largest):
        headers, path = Headers(scope=scope), scope['path']
        if self.state.is_draining and path not in HEALTH:
            raise HTTPException(503, 'the server is shutting down; try again in a minute', RETRY)
        if scope['method'] not in ('GET', 'HEAD') and _is_foreign(headers):
            raise HTTPException(403, "another site's page may not use this server")
        if self.token and path.startswith(('/api/', '/metrics')) and not self._is_known(headers):
            raise HTTPException(
                401,
                'send the header "Authorization: Bearer TOKEN"',
                {'WWW-Authenticate': 'Bearer'},
            )
        length = headers.get('content-length')
        if length is None:
            return
        if 'transfer-encoding' in headers:  # one of them was meant for somebody in between
            raise HTTPException(
                400, 'send Content-Length or Transfer-Encoding, not both', {'Connection': 'close'}
            )
        if not (length.isascii() and length.isdigit()) or int(length) > largest:
            raise HTTPException(413, _too_large(largest))

    def _is_known(self, headers):
        scheme, _, token = headers.get('authorization', '').partition(' ')
        is_same = hmac.compare_digest(token.encode(), self.token.encode())
        return scheme.lower() == 'bearer' and is_same


class _LimitedBody:
    """``receive`` of an ASGI application, until it is too much or takes too long."""

    def __init__(self, receive, largest, limits, state):
        self._receive = receive
        self._largest = largest
        self._most_held = UPLOADS * limits.max_bytes
        self._state = state
        self._deadline = anyio.current_time() + limits.timeout
        self._size = 0
        self._is_over = False

    async def __call__(self) -> Any:
        if self._is_over:  # only a disconnection can come
            return await self._receive()
        message = None
        with anyio.CancelScope(deadline=self._deadline):
            message = await self._receive()
        if message is None:
            raise HTTPException(408, 'the request took too long to arrive')
        self._is_over = not message.get('more_body', False)
        size = len(message.get('body', b''))
        self._hold(size)
        if self._size > self._largest:
            raise HTTPException(413, _too_large(self._largest))
        if self._state.body_bytes > self._most_held:
            raise HTTPException(
                503, 'too many videos are on their way; try again in a minute', RETRY
            )
        return message

    def release(self):
        """Count its bytes as gone."""
        self._hold(-self._size)

    def _hold(self, size):
        self._size += size
        self._state.body_bytes += size
        metrics.BODY_BYTES.set(self._state.body_bytes)


def _too_large(largest):
    return f'the request is larger than {largest / 2**20:.3g} MiB'


def _is_foreign(headers) -> bool:
    """Tell whether a page of another site sent a request; some say so only in Origin."""
    if headers.get('sec-fetch-site') in ('cross-site', 'same-site'):
        return True
    origin = headers.get('origin')
    return origin is not None and origin.partition('://')[2] != headers.get('host')


def _without_authority(scope):
    """Turn ``GET http://host/path`` into ``GET /path`` for that host, as RFC 9112, 3.2.2 wants."""
    match = re.match(r'https?://([^/]*)(.*)', scope['path'])
    if match is None:
        return scope
    headers = [(name, value) for name, value in scope['headers'] if name != b'host']
    headers.append((b'host', match[1].encode()))
    return dict(scope, path=match[2] or '/', raw_path=match[2].encode() or b'/', headers=headers)
