"""Answer the HTTP API and serve the page."""

import asyncio
import functools
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import anyio
import numpy as np
import torch
from mmaction.structures import ActionDataSample
from pebble import ProcessExpired
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pan_mm.datasets.container import VideoTooLargeError
from pan_mm.datasets.motion_shapes.render import render_clip, write_video
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.models.streams import streams_of
from pan_mm.utils.errors import CheckpointError, VideoError

from .decoding import Decoder
from .limits import Limits
from .middleware import RETRY, RequestMiddleware, error_json
from .pictures import decode_picture

PAGE = Path(__file__).with_name('page')
CLIENT_CLOSED_REQUEST = 499  # as nginx counts it
IDLE_SECONDS = 10.0  # without a frame, after which a camera is forgotten
MAX_GAP = 1.0  # seconds between frames that a segment may span
MultiPartParser.spool_max_size = 2**16  # bytes of an upload that are kept in memory

VIDEOS = Gauge('pan_mm_videos', 'Videos that are worked on or wait')


def create_app(
    inferencer: PANInferencer,
    limits: Limits,
    hosts: list,
    token: Optional[str] = None,
    stride: int = 8,
    batched: Optional[Callable] = None,
) -> Starlette:
    """Make the application: page, API, health and metrics; errors are JSON, ``{"error": …}``.

    ``hosts`` are the names in the ``Host`` header that are answered, ``stride`` the frames from one
    segment of a camera to the next. ``batched`` makes of a function of several clips a coroutine
    function of one; by default the model recognizes one clip at a time.
    """
    api = Api(inferencer, limits, stride, batched)
    app = Starlette(
        routes=[
            Route('/healthz', api.health),
            Route('/readyz', api.readiness),
            Route('/metrics', api.metrics),
            Route('/api/info', api.info),
            Route('/api/sample', api.sample),
            Route('/api/predict', api.predict, methods=['POST']),
            Route('/api/cameras', api.open_camera, methods=['POST']),
            Route('/api/cameras/{name}', api.feed_camera, methods=['POST']),
            Route('/api/cameras/{name}', api.close_camera, methods=['DELETE']),
            Mount('/', StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(RequestMiddleware, limits=limits, token=token),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=api.lifespan,
    )
    app.state.api = api
    return app


@dataclass
class Camera:
    """A live camera: the state of its stream, the number and the time of its last frame."""

    recognizer: StreamRecognizer
    is_busy: bool = False
    index: int = -1
    last: float = field(default_factory=time.perf_counter)


class Api:
    """The routes' functions; see :func:`create_app` for the arguments."""

    def __init__(
        self, inferencer: PANInferencer, limits: Limits, stride: int, batched: Optional[Callable]
    ) -> None:
        self.inferencer = inferencer
        self.limits = limits
        self.stride = stride
        self.is_live = limits.cameras > 0 and bool(streams_of(inferencer.model))
        self.decoder = Decoder(inferencer.pipeline, limits)
        self.places = asyncio.Semaphore(limits.waiting + 1)
        self.cameras: dict = {}
        # One thread each: the model, for the first who asks first, and what reads and draws.
        self.model_thread = ThreadPoolExecutor(1, 'model')
        self.picture_thread = ThreadPoolExecutor(1, 'pictures')
        self.recognize = (batched or self._one_by_one)(self.recognize_clips)

    @asynccontextmanager
    async def lifespan(self, app):
        """Serve once a video would be decoded at once."""
        await self.decoder.check()
        yield

    async def info(self, request: Request) -> Response:
        """Describe the model and the limits."""
        about = dict(classes=self.inferencer.classes, limits=self.limits._asdict())
        return JSONResponse(dict(about, live=self.is_live, cameras=self._count_cameras()))

    async def sample(self, request: Request) -> Response:
        """Give a clip to those who have none at hand."""
        return Response(await _in(self.picture_thread, sample_video), media_type='video/mp4')

    async def predict(self, request: Request) -> Response:
        """Recognize an uploaded video."""
        upload = await receive_video(request)
        if self.places.locked():  # it is taken when the body is in, so slow clients hold none
            raise HTTPException(503, 'the server is busy; try again in a few seconds', RETRY)
        async with self.places:
            with (
                VIDEOS.track_inprogress(),
                _cancelled_on_disconnect(request) as connected,
                anyio.move_on_after(self.limits.timeout),
                upload.file as source,
                tempfile.NamedTemporaryFile(prefix='pan_mm-serve-', suffix='.mp4') as file,
            ):
                await anyio.to_thread.run_sync(shutil.copyfileobj, source, file)
                file.flush()
                return JSONResponse(await self._analyze(Path(file.name)))
        if connected.cancelled_caught:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        raise HTTPException(503, f'no answer within {self.limits.timeout:g} s; try again', RETRY)

    async def _analyze(self, path):
        began = time.perf_counter()
        async with self.decoder(path) as clip:
            decoded = time.perf_counter()
            answer = await self.recognize(torch.from_numpy(clip))
        recognition = time.perf_counter() - decoded
        return dict(answer, seconds=dict(decoding=decoded - began, recognition=recognition))

    def recognize_clips(self, clips: list) -> list:
        """Give the answers about clips, the model's inputs, in one batch."""
        batch = [
            (number, dict(inputs=inputs, data_samples=ActionDataSample()), None)
            for number, inputs in enumerate(clips)
        ]
        results = list(self.inferencer.recognize(batch))
        for result in results:
            del result['video']
        return results

    def _one_by_one(self, recognize):
        async def recognize_one(clip):
            (answer,) = await _in(self.model_thread, recognize, [clip])
            return answer

        return recognize_one

    async def open_camera(self, request: Request) -> Response:
        """Follow another live camera, under an unguessable name."""
        await request.body()  # read it, so that none of it passes for a request
        if not self.is_live:
            raise HTTPException(404, 'this server follows no cameras, or this model cannot')
        if self._count_cameras() >= self.limits.cameras:
            raise HTTPException(503, 'the server follows no more cameras', RETRY)
        name = secrets.token_urlsafe(16)
        self.cameras[name] = Camera(StreamRecognizer(self.inferencer.model, self.stride))
        return JSONResponse(dict(camera=name), 201)

    async def feed_camera(self, request: Request) -> Response:
        """Take a frame of a camera; answer the classes once it completes a window.

        A frame that comes while the one before is worked on is dropped.
        """
        body = await request.body()
        camera = self.cameras.get(request.path_params['name'])
        if camera is None:
            raise HTTPException(410, 'this camera is not followed anymore; film again')
        now = time.perf_counter()
        camera.index += 2 if now - camera.last > MAX_GAP else 1  # no segment spans a gap
        camera.last = now
        if camera.is_busy:
            return JSONResponse(None)
        camera.is_busy = True
        try:
            frame = await _in(self.picture_thread, decode_picture, body, self.limits), now
            push = camera.recognizer.push
            prediction = await _in(self.model_thread, push, *frame, camera.index, now)
        finally:
            camera.is_busy = False
        if prediction is None:
            return JSONResponse(None)
        result = self.inferencer.result(torch.from_numpy(prediction.scores))
        return JSONResponse(dict(result, latency=round(prediction.latency, 4)))

    async def close_camera(self, request: Request) -> Response:
        """Forget a camera."""
        self.cameras.pop(request.path_params['name'], None)
        return Response(status_code=204)

    def _count_cameras(self):
        """Count the cameras that send frames, and forget the others."""
        for name, camera in list(self.cameras.items()):
            if time.perf_counter() - camera.last > IDLE_SECONDS:
                del self.cameras[name]
        return len(self.cameras)

    async def health(self, request: Request) -> Response:
        """Tell that the process answers."""
        return JSONResponse(dict(status='ok'))

    async def readiness(self, request: Request) -> Response:
        """Tell that a video would be decoded."""
        await self.decoder.check()
        return await self.health(request)

    async def metrics(self, request: Request) -> Response:
        """Give the metrics in Prometheus's format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@functools.cache
def sample_video() -> bytes:
    """Render a clip of MotionShapes, an mp4."""
    with tempfile.NamedTemporaryFile(prefix='pan_mm-sample-', suffix='.mp4') as file:
        write_video(file.name, render_clip(np.random.default_rng(0), 1, 128, 36))
        return Path(file.name).read_bytes()


async def receive_video(request: Request) -> UploadFile:
    """Read the video of a form; refuse anything else."""
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        raise HTTPException(415, "send the video as a form's file: curl -F video=@clip.mp4 ADDRESS")
    try:
        form = await request.form(max_files=1, max_fields=4, max_part_size=1024)
    except ValueError as error:  # such as charset=undefined
        raise HTTPException(400, f'the form cannot be read: {error}') from error
    upload = form.get('video')
    if not isinstance(upload, UploadFile):
        raise HTTPException(422, 'the form has no file "video": curl -F video=@clip.mp4 ADDRESS')
    return upload


def _in(thread, function, *args):
    return asyncio.get_running_loop().run_in_executor(thread, function, *args)


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


def _handler(status, message=None):
    return lambda request, error: error_json(status, message or str(error))


EXCEPTION_HANDLERS = {
    HTTPException: lambda request, error: error_json(
        error.status_code, str(error.detail), error.headers
    ),
    ClientDisconnect: _handler(400, 'the request was cut off'),
    VideoTooLargeError: _handler(413),
    VideoError: _handler(422),
    # The next three come from the process that decodes.
    asyncio.TimeoutError: _handler(413, 'decoding the video takes too long; make it shorter'),
    MemoryError: _handler(413, 'decoding the video needs too much memory; make it smaller'),
    ProcessExpired: _handler(422, 'the decoder broke down at the file; it is damaged'),
    CheckpointError: _handler(500),  # scores that are not finite
    Exception: _handler(500, 'the server failed at this request; its log says more'),
}
