"""The HTTP API, and the limits on everything that comes in."""

import asyncio
import logging
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .analysis import Analysis, VideoAnalyzer
from .limits import Limits, Refusal

# Scripts, styles, fonts and pictures of this server alone; nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = '; '.join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'self'",
    ]
)
# Parts of Gradio that the page does not use and that take files, addresses or code.
CLOSED = tuple(
    f'/gradio_api/{name}'
    for name in (
        *('api/', 'call/', 'component_server', 'custom_component', 'dev/', 'process_recording'),
        *('proxy=', 'reset', 'run/', 'undo-vibe', 'vibe'),
    )
)
FRAMES = '/gradio_api/stream/'  # a camera's come by POST; what is asked of it is Gradio's own
VIDEOS = ('/api/predict', '/gradio_api/upload')  # where a body may have ``max_bytes``
MESSAGE = 4 * 2**20  # bytes of any other body; Gradio keeps a session's last message
UPLOADS = 20  # of the largest size that may lie on the disk at once
LINGER = 2.0  # seconds that a refused body is read on, so that the client sees the answer


def create_api(analyzer: VideoAnalyzer, folder: Path) -> FastAPI:
    """``POST /api/predict`` and ``GET /api/info``; errors are JSON, ``{"error": …}``.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        folder (Path): Where a video lies while it is worked on, in a file of the server's naming.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # their pages load scripts
    limits = analyzer.limits

    @app.get('/api/info')
    def info():
        return dict(
            classes=analyzer.inferencer.classes,
            timeline=analyzer.streams,
            cameras=analyzer.cameras.count(),
            limits=dict(
                bytes=limits.max_bytes,
                seconds=limits.max_seconds,
                timeout=limits.timeout,
                cameras=limits.cameras,
            ),
        )

    @app.post('/api/predict')
    async def predict(request: Request, timeline: bool = False):
        with ExitStack() as stack:
            try:
                stack.enter_context(analyzer.gate.place())
            except Refusal:
                async for _ in request.stream():  # else the client sees no answer
                    pass
                raise
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            path = await _receive(request, own)
            analysis = await run_in_threadpool(analyzer, path, timeline=timeline)
        return to_json(analysis, analyzer.inferencer.classes)

    @app.api_route('/api/{name:path}', methods=['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
    def nothing(name):  # the page, at /, would answer in a form of its own
        raise HTTPException(404, 'the API has GET /api/info and POST /api/predict')

    @app.exception_handler(Refusal)
    def refused(request, refusal):
        return _error(refusal.status, str(refusal))

    @app.exception_handler(HTTPException)
    def wrong(request, error):
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(request, error):
        return _error(422, 'timeline must be true or false')

    @app.exception_handler(ClientDisconnect)
    def gone(request, error):
        return _error(400, 'the request was cut off')

    @app.exception_handler(Exception)
    def failed(request, error):
        logging.getLogger(__name__).error('%s %s', request.method, request.url, exc_info=error)
        return _error(500, 'the server failed at this request; its log says more')

    app.add_middleware(Doorkeeper, limits=limits, folder=folder)
    return app


async def _receive(request, folder):
    """Write the uploaded video into a file whose name owes nothing to the client."""
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        raise Refusal(415, "send the video as a form's file: curl -F video=@clip.mp4 ADDRESS")
    async with request.form(max_files=1, max_fields=4) as form:
        upload = form.get('video')
        if upload is None or isinstance(upload, str):
            raise Refusal(422, 'the form has no file "video": curl -F video=@clip.mp4 ADDRESS')
        path = folder / 'video.mp4'  # whatever it is: MMAction2 wants a suffix
        with path.open('wb') as file:
            await run_in_threadpool(shutil.copyfileobj, upload.file, file)
    return path


def to_json(analysis: Analysis, classes: list) -> dict:
    """An analysis as the API answers it."""
    result = dict(top=analysis.top, seconds=analysis.seconds)
    timeline = analysis.timeline
    if timeline is not None:
        best = timeline.scores.argmax(axis=1)
        result['timeline'] = dict(
            complete=timeline.complete,
            predictions=[
                dict(time=round(float(t), 3), name=classes[k], score=round(float(s[k]), 4))
                for t, k, s in zip(timeline.times, best, timeline.scores)
            ],
            events=[
                dict(name=classes[label], start=round(start, 3), end=round(end, 3), score=score)
                for label, start, end, score in timeline.events
            ],
        )
    return result


def _error(status, message):
    headers = {'Retry-After': '5'} if status == 503 else None
    return JSONResponse(dict(error=message), status, headers)


class Doorkeeper:
    """ASGI middleware: bounds the size and the time of every body, and closes doors.

    Args:
        app: The application behind it.
        limits (Limits): ``max_bytes`` and ``timeout`` count.
        folder (Path): Where uploads lie; a full one takes no more of them.
    """

    def __init__(self, app, limits: Limits, folder: Path) -> None:
        self.app = app
        self.limits = limits
        self.folder = folder

    async def __call__(self, scope, receive, send):
        """Pass a request on, or answer it with an error."""
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        largest = self.limits.max_bytes if scope['path'] in VIDEOS else MESSAGE
        body = _Body(receive, largest, self.limits.timeout)
        headers = dict(scope['headers'])
        length = headers.get(b'content-length', b'0')
        refusal = None
        if not length.isdigit() or int(length) > largest:
            refusal = Refusal(413, body.too_large)
        elif scope['path'].startswith(CLOSED) or (
            scope['method'] != 'POST' and scope['path'].startswith(FRAMES)
        ):
            refusal = Refusal(404, 'there is nothing at this address')
        elif scope['path'] == '/gradio_api/upload' and self._is_full():
            refusal = Refusal(503, 'too many videos are being looked at; try again in a minute')
        if refusal is not None:
            if b'expect' not in headers:  # such a client waits for the answer before it sends
                await body.linger()
            answer = _error(refusal.status, str(refusal))
            return await answer(scope, receive, send)

        async def send_with_headers(message):
            if message['type'] == 'http.response.start':
                message['headers'] = [
                    *message.get('headers', []),
                    (b'content-security-policy', CONTENT_SECURITY_POLICY.encode()),
                    (b'x-content-type-options', b'nosniff'),
                    (b'referrer-policy', b'no-referrer'),
                ]
            await send(message)

        return await self.app(scope, body, send_with_headers)

    def _is_full(self):
        size = 0
        for path in self.folder.rglob('*'):
            try:
                size += path.stat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
        return size > UPLOADS * self.limits.max_bytes


class _Body:
    """``receive`` of an ASGI application, until it is too much or takes too long."""

    def __init__(self, receive, largest, timeout):
        self.receive = receive
        self.left = largest
        self.too_large = f'the request is larger than {largest / 2**20:.3g} MiB'
        self.deadline = time.monotonic() + timeout
        self.over = False

    async def __call__(self):
        if self.over:  # only a disconnection can come
            return await self.receive()
        try:
            left = max(0.0, self.deadline - time.monotonic())
            message = await asyncio.wait_for(self.receive(), left)
        except asyncio.TimeoutError:
            raise HTTPException(408, 'the request took too long to arrive') from None
        self.over = not message.get('more_body', False)
        self.left -= len(message.get('body', b''))
        if self.left < 0:
            await self.linger()
            raise HTTPException(413, self.too_large)
        return message

    async def linger(self):
        """Read on for a moment: a client that is cut off while it sends sees no answer."""
        deadline = time.monotonic() + LINGER
        while not self.over and time.monotonic() < deadline:
            try:
                message = await asyncio.wait_for(self.receive(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                return
            self.over = not message.get('more_body', False)
