"""Answer the HTTP API and serve the page."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

import anyio
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from . import metrics
from .analysis import VideoAnalyzer
from .cameras import Cameras, decode_picture
from .messages import EXCEPTION_HANDLERS, RETRY, analysis_json, read_flag, receive_video
from .middleware import RequestMiddleware, State
from .pictures import pictures

PAGE = Path(__file__).with_name('page')
CLIENT_CLOSED_REQUEST = 499  # as nginx counts it


class Access(NamedTuple):
    """Who may ask.

    Attributes:
        hosts (list[str]): Names in the ``Host`` header that are answered.
        token (str | None): What a client of the API must show.
    """

    hosts: list
    token: Optional[str] = None


def create_app(analyzer: VideoAnalyzer, cameras: Cameras, title: str, access: Access) -> Starlette:
    """Make the application: page, API, health and metrics; errors are JSON, ``{"error": …}``.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        cameras (Cameras): Live cameras.
        title (str): What the page is called.
        access (Access): Who may ask.

    Returns:
        Starlette: ``state.requests`` is its :class:`~pan_mm.deploy.server.middleware.State`.
    """
    state = State()
    api = Api(analyzer, cameras, title, state)
    app = Starlette(
        routes=[
            Route('/healthz', api.health),
            Route('/readyz', api.readiness),
            Route('/metrics', api.metrics),
            Route('/api/info', api.info),
            Route('/api/predict', api.predict, methods=['POST']),
            Route('/api/cameras', api.open_camera, methods=['POST']),
            Route('/api/cameras/{name}', api.feed_camera, methods=['POST']),
            Route('/api/cameras/{name}', api.close_camera, methods=['DELETE']),
            Route('/api/{name:path}', api.missing),
            Mount('/', StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(RequestMiddleware, limits=analyzer.limits, state=state, token=access.token),
            Middleware(TrustedHostMiddleware, allowed_hosts=access.hosts, www_redirect=False),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=api.lifespan,
    )
    app.state.requests = state
    return app


class Api:
    """The routes' functions; see :func:`create_app` for the arguments."""

    def __init__(self, analyzer: VideoAnalyzer, cameras: Cameras, title: str, state: State) -> None:
        self.analyzer = analyzer
        self.cameras = cameras
        self.title = title
        self.state = state
        self.places = asyncio.Semaphore(analyzer.limits.waiting + 1)
        metrics.PLACES.set(analyzer.limits.waiting + 1)
        metrics.CAMERAS.set_function(cameras.count)
        self.classes = analyzer.inferencer.classes
        # One thread each: JPEGs of cameras, and Matplotlib, which opens its fonts in every thread.
        self.picture_thread = ThreadPoolExecutor(1, 'pictures')
        self.drawing_thread = ThreadPoolExecutor(1, 'drawing')

    @asynccontextmanager
    async def lifespan(self, app):
        """Start the decoders, and in the end stop what runs."""
        self.analyzer.decoder.start()
        yield
        self.cameras.close_all()
        self.analyzer.decoder.close()

    async def info(self, request: Request) -> Response:
        """Say what is served, and within which limits."""
        limits = self.analyzer.limits
        return JSONResponse(
            dict(
                title=self.title,
                classes=self.classes,
                timeline=self.analyzer.streams,
                cameras=self.cameras.count(),
                limits=dict(
                    bytes=limits.max_bytes,
                    seconds=limits.max_seconds,
                    timeout=limits.timeout,
                    cameras=limits.cameras,
                ),
            )
        )

    async def predict(self, request: Request) -> Response:
        """Recognize an uploaded video."""
        timeline, wants_pictures = read_flag(request, 'timeline'), read_flag(request, 'pictures')
        timeout = self.analyzer.limits.timeout
        os.makedirs(tempfile.gettempdir(), 0o700, exist_ok=True)  # somebody may have removed it
        with tempfile.TemporaryDirectory(prefix='pan_mm-serve-') as folder:
            path = await receive_video(request, Path(folder))
            if self.places.locked():  # it is taken when the body is in, so slow clients hold none
                raise HTTPException(503, 'the server is busy; try again in a few seconds', RETRY)
            async with self.places:
                with (
                    metrics.PLACES_TAKEN.track_inprogress(),
                    _cancelled_on_disconnect(request) as connected,
                    anyio.move_on_after(timeout),
                ):
                    return await self._analyze(path, timeline, wants_pictures)
        if connected.cancelled_caught:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        raise HTTPException(503, f'there was no answer within {timeout:g} s; try again', RETRY)

    async def _analyze(self, path, timeline, wants_pictures):
        analysis = await self.analyzer(path, wants_pictures, timeline)
        for part, seconds in analysis.seconds.items():
            metrics.WORK_SECONDS.labels(part).observe(seconds)
        answer = analysis_json(analysis, self.classes)
        if wants_pictures:
            answer['pictures'] = await asyncio.get_running_loop().run_in_executor(
                self.drawing_thread, pictures, analysis, self.classes
            )
        return JSONResponse(answer)

    async def open_camera(self, request: Request) -> Response:
        """Follow a live camera more."""
        await request.body()  # what is not HTTP in it must not pass
        if not self.analyzer.streams:
            raise HTTPException(404, 'this model cannot follow a camera')
        return JSONResponse(dict(camera=self.cameras.open()), 201)

    async def feed_camera(self, request: Request) -> Response:
        """Take a frame of a camera, and answer what is new, or null."""
        camera = self.cameras.get(request.path_params['name'])
        body = await request.body()

        def take():
            camera.put(decode_picture(body, self.analyzer.limits))
            return camera.news()

        loop = asyncio.get_running_loop()
        return JSONResponse(await loop.run_in_executor(self.picture_thread, take))

    async def close_camera(self, request: Request) -> Response:
        """Forget a camera."""
        self.cameras.close(request.path_params['name'])
        return Response(status_code=204)

    async def health(self, request: Request) -> Response:
        """Say that the process answers."""
        return JSONResponse(dict(status='ok'))

    async def readiness(self, request: Request) -> Response:
        """Say whether videos can be served."""
        if self.state.is_draining:
            raise HTTPException(503, 'the server is shutting down')
        if not self.analyzer.decoder.start():
            raise HTTPException(503, 'decoders cannot be started; restart the server')
        return JSONResponse(dict(status='ok'))

    async def metrics(self, request: Request) -> Response:
        """Give the metrics in Prometheus's format."""
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    async def missing(self, request: Request) -> Response:
        """Name the addresses that there are."""
        raise HTTPException(404, 'the API has GET /api/info and POST /api/predict')


@contextmanager
def _cancelled_on_disconnect(request: Request) -> Iterator[anyio.CancelScope]:
    """Cancel the work inside when the client leaves."""

    async def watch():
        while (await request.receive())['type'] != 'http.disconnect':
            pass
        scope.cancel()

    with anyio.CancelScope() as scope:
        watcher = asyncio.ensure_future(watch())
        try:
            yield scope
        finally:
            watcher.cancel()
