"""What every request passes: headers, token, the size and the time of its body, counts."""

import asyncio
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from .limits import TICK, Deadline, Limits, Refusal
from .metrics import Metrics

# Scripts, styles and pictures of this server; nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = '; '.join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        'media-src blob:',
        "connect-src 'self'",
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)
HEADERS = [
    (b'content-security-policy', CONTENT_SECURITY_POLICY.encode()),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
    (b'cross-origin-resource-policy', b'same-origin'),
]
ROUTES = ('/', '/healthz', '/readyz', '/metrics', '/api/info', '/api/predict', '/api/cameras')
MESSAGE = 2**20  # bytes of any body that is not a video
UPLOADS = 20  # largest videos that may be stored at once
LINGER = 2.0  # seconds for which a refused body is still read, so that the client sees the answer


def error_answer(status: int, message: str) -> JSONResponse:
    """An error as the API gives it."""
    headers = {}
    if status in (429, 503):
        headers['Retry-After'] = '5'
    if status == 401:
        headers['WWW-Authenticate'] = 'Bearer'
    return JSONResponse(dict(error=message), status, headers)


class State:
    """Whether the server takes requests, and those that it works on."""

    def __init__(self) -> None:
        self.is_draining = False  # no new ones
        self.is_over = False  # nor those already accepted
        self._deadlines: set = set()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[Deadline]:
        """A deadline for the work on a request; it comes earlier when the server ends."""
        deadline = Deadline(seconds)
        if self.is_over:
            deadline.call_off()
        self._deadlines.add(deadline)
        try:
            yield deadline
        finally:
            self._deadlines.discard(deadline)

    def end(self) -> None:
        """Call all work off."""
        self.is_over = True
        for deadline in list(self._deadlines):
            deadline.call_off()


class Doorkeeper:
    """ASGI middleware in front of all others.

    Args:
        app: The application behind it.
        limits (Limits): ``max_bytes`` and ``timeout`` count.
        metrics (Metrics): Counts answers, and the bytes that are held.
        life (State): A server that drains takes no new requests.
        token (str, optional): What a client of the API must show. Page and health are open.
    """

    def __init__(
        self, app, limits: Limits, metrics: Metrics, life: State, token: Optional[str]
    ) -> None:
        self.app = app
        self.limits = limits
        self.metrics = metrics
        self.life = life
        self.token = token and f'Bearer {token}'.encode()

    async def __call__(self, scope, receive, send):
        """Pass a request on, or answer it with an error."""
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        began, status = time.monotonic(), 0

        async def send_with_headers(message):
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
                close = [(b'connection', b'close')] if self.life.is_draining else []
                message['headers'] = [*message.get('headers', []), *HEADERS, *close]
            await send(message)

        largest = self.limits.max_bytes if scope['path'] == '/api/predict' else MESSAGE
        body = _Body(receive, largest, self)
        headers = Headers(scope=scope)
        self.metrics.bodies += 1
        try:
            refusal = self._refusal(scope, headers, body)
            if refusal is None:
                await self.app(scope, body, send_with_headers)
            else:
                if 'expect' not in headers:  # such a client waits for the answer before it sends
                    await body.linger()
                await error_answer(refusal.status, str(refusal))(scope, receive, send_with_headers)
        finally:
            body.release()
            self.metrics.bodies -= 1
            path = scope['path']
            route = path if path in ROUTES else path.startswith('/api/cameras/') and 'camera'
            self.metrics.answered(route or 'other', status or 500, time.monotonic() - began)

    def _refusal(self, scope, headers, body) -> Optional[Refusal]:
        path, length = scope['path'], headers.get('content-length', '0')
        health = path in ('/healthz', '/readyz')
        if self.life.is_draining and not health:
            return Refusal(503, 'the server is shutting down; try again in a minute')
        if headers.get('sec-fetch-site') == 'cross-site' and scope['method'] != 'GET':
            return Refusal(403, "another site's page may not use this server")
        needs_token = path == '/metrics' or path.startswith('/api/')
        given = headers.get('authorization', '').encode()
        if self.token and needs_token and not hmac.compare_digest(given, self.token):
            return Refusal(401, 'send the header "Authorization: Bearer TOKEN"')
        if not (length.isascii() and length.isdigit()) or int(length) > body.largest:
            return Refusal(413, body.too_large)
        return None


class _Body:
    """``receive`` of an ASGI application, until it is too much or takes too long."""

    def __init__(self, receive, largest, doorkeeper):
        self.receive = receive
        self.largest = largest
        self.too_large = f'the request is larger than {largest / 2**20:.3g} MiB'
        self.over = False
        self._doorkeeper = doorkeeper
        self._size = 0
        self._deadline = Deadline(doorkeeper.limits.timeout)

    async def __call__(self) -> Any:
        if self.over:  # only a disconnection can come
            return await self.receive()
        message = await self._next()
        metrics, limits = self._doorkeeper.metrics, self._doorkeeper.limits
        size = len(message.get('body', b''))
        self._size += size
        metrics.body_bytes += size
        if self._size > self.largest:
            await self.linger()
            raise HTTPException(413, self.too_large)
        if metrics.body_bytes > UPLOADS * limits.max_bytes:
            await self.linger()
            raise Refusal(503, 'too many videos are on their way; try again in a minute')
        return message

    async def _next(self):
        """The next message; waits no longer than the server lives."""
        while True:
            if self._doorkeeper.life.is_over:
                raise Refusal(503, 'the server is shutting down; try again in a minute')
            if not self._deadline.left:
                raise HTTPException(408, 'the request took too long to arrive')
            try:
                message = await asyncio.wait_for(self.receive(), min(TICK, self._deadline.left))
            except asyncio.TimeoutError:
                continue
            self.over = not message.get('more_body', False)
            return message

    async def linger(self):
        """Read on for a moment: a client that is cut off while it sends sees no answer."""
        self._deadline = Deadline(LINGER)
        while not self.over:
            try:
                await self._next()
            except (HTTPException, Refusal):
                return

    def release(self):
        """The request is over."""
        self._doorkeeper.metrics.body_bytes -= self._size
        self._size = 0
