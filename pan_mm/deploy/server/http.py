"""The HTTP API, which the page uses too."""

import asyncio
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Optional

import anyio
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pan_mm.utils.errors import CheckpointError

from .analysis import Analysis, VideoAnalyzer
from .doorkeeper import Doorkeeper, State, error_answer
from .limits import Deadline, Refusal
from .live import LiveResult
from .metrics import Metrics
from .pictures import moving, pictures
from .protocol import client_of

PAGE = Path(__file__).with_name('page')
YES, NO = ('true', '1', 'yes', 'on'), ('false', '0', 'no', 'off', '')


class Access(NamedTuple):
    """Who may come.

    Attributes:
        hosts (list[str]): Names in the ``Host`` header that are answered.
        token (str | None): What a client of the API must show.
    """

    hosts: list
    token: Optional[str] = None


class _Parser(MultiPartParser):
    """Starlette's, with little of a body in memory."""

    spool_max_size = 64 * 2**10


def create_app(analyzer: VideoAnalyzer, folder: Path, title: str, access: Access) -> Starlette:
    """Page, API, health and metrics; errors are JSON, ``{"error": …}``.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        folder (Path): Where a video lies while it is worked on, in a file of the server's naming.
        title (str): What the page is called.
        access (Access): Who may come.

    Returns:
        Starlette: ``state.life`` is its :class:`~pan_mm.deploy.server.doorkeeper.State`,
        ``state.metrics`` its :class:`~pan_mm.deploy.server.metrics.Metrics`.
    """
    limits, classes = analyzer.limits, analyzer.inferencer.classes
    metrics, life = Metrics(analyzer), State()
    threads = anyio.CapacityLimiter(analyzer.gate.capacity)  # its own; others stay free

    async def info(request):
        return JSONResponse(
            dict(
                title=title,
                classes=classes,
                timeline=analyzer.streams,
                cameras=analyzer.cameras.count(),
                limits=dict(
                    bytes=limits.max_bytes,
                    seconds=limits.max_seconds,
                    timeout=limits.timeout,
                    cameras=limits.cameras,
                ),
            )
        )

    async def predict(request):
        wanted = {name: _flag(request, name) for name in ('timeline', 'pictures')}
        with ExitStack() as stack:
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            path = await _receive(request, own)
            stack.enter_context(analyzer.gate.place())  # not before the body is in
            deadline = stack.enter_context(life.deadline(limits.timeout))

            def work():
                analysis = analyzer(path, deadline, wanted['pictures'], wanted['timeline'])
                metrics.worked(analysis.seconds)
                answer = to_json(analysis, classes)
                if wanted['pictures']:
                    answer['pictures'] = pictures(analysis, classes)
                return answer

            watcher = asyncio.ensure_future(_call_off(request, deadline))
            try:
                return JSONResponse(await anyio.to_thread.run_sync(work, limiter=threads))
            finally:
                watcher.cancel()

    async def open_camera(request):
        if not analyzer.streams:
            raise Refusal(404, 'this model cannot follow a camera')
        client = client_of(request.client.host if request.client else '')
        return JSONResponse(dict(camera=analyzer.cameras.open(client)), 201)

    async def feed_camera(request):
        name, body = request.path_params['name'], await request.body()

        def work():
            camera = analyzer.cameras.feed(name, body)
            if camera.failed:
                raise HTTPException(500, camera.failed)
            result = camera.result
            if result is camera.shown or result is None:
                return None
            camera.shown = result
            return live_json(result, classes)

        return JSONResponse(await anyio.to_thread.run_sync(work))

    async def close_camera(request):
        analyzer.cameras.close(request.path_params['name'])
        return Response(status_code=204)

    async def healthy(request):
        return JSONResponse(dict(status='ok'))

    async def ready(request):
        if life.is_draining:
            raise Refusal(503, 'the server is shutting down')
        return JSONResponse(dict(status='ok'))

    async def measured(request):
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def nothing(request):
        raise HTTPException(404, 'the API has GET /api/info and POST /api/predict')

    app = Starlette(
        routes=[
            Route('/healthz', healthy),
            Route('/readyz', ready),
            Route('/metrics', measured),
            Route('/api/info', info),
            Route('/api/predict', predict, methods=['POST']),
            Route('/api/cameras', open_camera, methods=['POST']),
            Route('/api/cameras/{name}', feed_camera, methods=['POST']),
            Route('/api/cameras/{name}', close_camera, methods=['DELETE']),
            Route('/api/{name:path}', nothing),
            Mount('/', StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(Doorkeeper, limits=limits, metrics=metrics, life=life, token=access.token),
            Middleware(TrustedHostMiddleware, allowed_hosts=access.hosts, www_redirect=False),
        ],
        exception_handlers={
            Refusal: lambda _, error: error_answer(error.status, str(error)),
            HTTPException: lambda _, error: error_answer(error.status_code, str(error.detail)),
            CheckpointError: lambda _, error: error_answer(500, str(error)),
            ClientDisconnect: lambda _, error: error_answer(400, 'the request was cut off'),
            Exception: lambda _, error: error_answer(
                500, 'the server failed at this request; its log says more'
            ),
        },
    )
    app.state.life, app.state.metrics = life, metrics
    return app


def _flag(request, name):
    value = request.query_params.get(name, '').lower()
    if value not in YES + NO:
        raise Refusal(422, f'{name} must be true or false')
    return value in YES


async def _receive(request, folder):
    """Write the uploaded video into a file whose name owes nothing to the client."""
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        raise Refusal(415, "send the video as a form's file: curl -F video=@clip.mp4 ADDRESS")
    parser = _Parser(
        request.headers, request.stream(), max_files=1, max_fields=4, max_part_size=1024
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, error.message) from None
    try:
        upload = form.get('video')
        if upload is None or isinstance(upload, str):
            raise Refusal(422, 'the form has no file "video": curl -F video=@clip.mp4 ADDRESS')
        path = folder / 'video.mp4'  # whatever it is: MMAction2 wants a suffix
        with path.open('wb') as file:
            await anyio.to_thread.run_sync(shutil.copyfileobj, upload.file, file)
    finally:
        await form.close()
    return path


async def _call_off(request: Request, deadline: Deadline):
    """End the work for a client who has gone."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass
    deadline.call_off()


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
            events=_events(timeline.events, classes),
        )
    return result


def live_json(result: LiveResult, classes: list) -> dict:
    """What is known of a camera, as the API answers it."""
    answer = dict(
        top=result.top,
        events=_events(result.events, classes),
        latency=round(result.latency, 4),
        fps=round(result.fps, 1),
        dropped=result.dropped,
        missing=result.missing,
    )
    if result.top and result.maps is not None:
        answer['pictures'] = [moving(result.maps)]
    return answer


def _events(events, classes):
    return [
        dict(name=classes[label], start=round(start, 3), end=round(end, 3), score=round(score, 4))
        for label, start, end, score in events
    ]
