"""Check every request before the application sees it: origin, token, size and time."""

import asyncio
import hmac
import re
from typing import Any, Optional

import anyio
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from .limits import Limits

# Scripts, styles and pictures of this server; nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b'content-security-policy', CONTENT_SECURITY_POLICY.encode()),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
    (b'cross-origin-resource-policy', b'same-origin'),
]
RETRY = {'Retry-After': '5'}  # with 503
API = ('/api/info', '/api/sample', '/api/predict', '/api/cameras')
ROUTES = ('/', '/healthz', '/readyz', '/metrics', *API)
SMALL_BODY = 2**20  # bytes of any body that is not a video

REQUESTS = Counter('pan_mm_requests', 'Answers', ['route', 'status'])
REQUEST_SECONDS = Histogram(
    'pan_mm_request_seconds', 'From the headers of a request to its answer', ['route']
)


def error_json(status: int, message: str, headers: Optional[dict] = None) -> JSONResponse:
    """Make the answer to a request that is not served."""
    return JSONResponse(dict(error=message), status, headers)


class RequestMiddleware:
    """ASGI middleware in front of all others; page and health are open without the token."""

    def __init__(self, app, limits: Limits, token: Optional[str] = None) -> None:
        self.app = app
        self.limits = limits
        self.token = token

    async def __call__(self, scope, receive, send):
        """Pass a request on, or answer it with an error."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        scope = _without_authority(scope)
        path, status = scope['path'], 0

        async def send_with_headers(message):
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
                message['headers'] = [*message.get('headers', []), *HEADERS]
            await send(message)

        largest = self.limits.max_bytes if path == '/api/predict' else SMALL_BODY
        body = limited_body(receive, largest, self.limits.timeout)
        app = self._refusal(scope, largest) or self.app
        route = path if path in ROUTES else 'other'
        with REQUEST_SECONDS.labels(route).time():
            try:
                await app(scope, body, send_with_headers)
            except asyncio.CancelledError:  # the server ends, and the time for it is over
                if status:
                    raise
                late = error_json(503, 'the server is shutting down; try again in a minute', RETRY)
                await late(scope, receive, send_with_headers)
            finally:
                REQUESTS.labels(route, status or 500).inc()

    def _refusal(self, scope, largest) -> Optional[JSONResponse]:
        headers, path = Headers(scope=scope), scope['path']
        if scope['method'] not in ('GET', 'HEAD') and _is_foreign(headers):
            return error_json(403, "another site's page may not use this server")
        if self.token and path.startswith(('/api/', '/metrics')) and not self._is_known(headers):
            asked = {'WWW-Authenticate': 'Bearer'}
            return error_json(401, 'send the header "Authorization: Bearer TOKEN"', asked)
        length = headers.get('content-length')
        if length is not None and 'transfer-encoding' in headers:  # a proxy may count otherwise
            return error_json(
                400, 'send Content-Length or Transfer-Encoding, not both', {'Connection': 'close'}
            )
        if length is not None and int(length) > largest:
            return error_json(413, _too_large(largest))
        return None

    def _is_known(self, headers):
        scheme, _, token = headers.get('authorization', '').partition(' ')
        is_same = hmac.compare_digest(token.encode(), self.token.encode())
        return scheme.lower() == 'bearer' and is_same


def limited_body(receive, largest: int, seconds: float):
    """Wrap ``receive`` of an ASGI application: a body may not be too large, nor take too long."""
    deadline = anyio.current_time() + seconds
    left, is_over = largest, False

    async def receive_within_limits() -> Any:
        nonlocal left, is_over
        if is_over:  # only a disconnection can come
            return await receive()
        message = None
        with anyio.CancelScope(deadline=deadline):
            message = await receive()
        if message is None:
            raise HTTPException(408, 'the request took too long to arrive')
        is_over = not message.get('more_body', False)
        left -= len(message.get('body', b''))
        if left < 0:
            raise HTTPException(413, _too_large(largest))
        return message

    return receive_within_limits


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
