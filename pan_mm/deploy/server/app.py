"""Answer the HTTP API and serve the page."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
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
from pan_mm.deploy.streaming.recognizer import StreamRecognizer
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.utils.errors import CheckpointError, VideoError
from pan_mm.visualization import inspect_clip

from .cameras import Camera, decode_picture
from .decoding import Decoder
from .limits import Limits
from .middleware import RETRY, RequestMiddleware, error_json
from .pictures import pictures

PAGE = Path(__file__).with_name('page')
CLIENT_CLOSED_REQUEST = 499  # as nginx counts it
MultiPartParser.spool_max_size = 2**16  # bytes of an upload that are kept in memory

VIDEOS = Gauge('pan_mm_videos', 'Videos that are worked on or wait')
CAMERAS = Gauge('pan_mm_cameras', 'Live cameras that are followed')


def create_app(
    inferencer: PANInferencer,
    limits: Limits,
    hosts: list,
    token: Optional[str] = None,
    title: str = 'PAN',
    stride: int = 8,
    batched: Optional[Callable] = None,
) -> Starlette:
    """Make the application: page, API, health and metrics; errors are JSON, ``{"error": …}``.

    Args:
        inferencer (PANInferencer): Recognizes the clips.
        limits (Limits): Limits of a request.
        hosts (list[str]): Names in the ``Host`` header that are answered.
        token (str, optional): Token that the API requires.
        title (str): Title of the page. Defaults to 'PAN'.
        stride (int): Frames from one segment of a camera to the next. Defaults to 8.
        batched (Callable, optional): Makes of a function of several clips a coroutine function of
            one. By default the model recognizes one clip at a time, in a thread of its own.
    """
    api = Api(inferencer, limits, title, stride, batched)
    return Starlette(
        routes=[
            Route('/healthz', api.health),
            Route('/readyz', api.readiness),
            Route('/metrics', api.metrics),
            Route('/api/info', api.info),
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


class Api:
    """The routes' functions; see :func:`create_app` for the arguments."""

    def __init__(
        self,
        inferencer: PANInferencer,
        limits: Limits,
        title: str,
        stride: int,
        batched: Optional[Callable] = None,
    ) -> None:
        self.inferencer = inferencer
        self.limits = limits
        self.title = title
        self.stride = stride
        self.streams = can_stream(inferencer.model, stride)
        self.decoder = Decoder(inferencer.pipeline, limits)
        self.places = asyncio.Semaphore(limits.waiting + 1)
        self.cameras: dict = {}
        CAMERAS.set_function(self._count_cameras)
        # One thread each: the model, for the first who asks first, and what reads and draws.
        self.model_thread = ThreadPoolExecutor(1, 'model')
        self.picture_thread = ThreadPoolExecutor(1, 'pictures')
        self.recognize = (batched or self._one_by_one)(self.recognize_clips)

    @asynccontextmanager
    async def lifespan(self, app):
        """Serve once a video would be decoded at once; in the end close all cameras."""
        await self.decoder.check()
        yield
        for camera in self.cameras.values():
            camera.close()

    async def info(self, request: Request) -> Response:
        """Describe the model and the limits."""
        limits = self.limits
        return JSONResponse(
            dict(
                title=self.title,
                classes=self.inferencer.classes,
                live=self.streams and limits.cameras > 0,
                cameras=self._count_cameras(),
                limits=dict(
                    bytes=limits.max_bytes, seconds=limits.max_seconds, cameras=limits.cameras
                ),
            )
        )

    async def predict(self, request: Request) -> Response:
        """Recognize an uploaded video."""
        os.makedirs(tempfile.gettempdir(), 0o700, exist_ok=True)  # it may have been removed
        upload = await receive_video(request)
        if self.places.locked():  # it is taken when the body is in, so slow clients hold none
            raise HTTPException(503, 'the server is busy; try again in a few seconds', RETRY)
        async with self.places:
            with (
                VIDEOS.track_inprogress(),
                _cancelled_on_disconnect(request) as connected,
                anyio.move_on_after(self.limits.timeout),
                upload.file as source,
                # Whatever it is: MMAction2 wants a suffix. The name owes nothing to the client.
                tempfile.NamedTemporaryFile(prefix='pan_mm-serve-', suffix='.mp4') as file,
            ):
                await anyio.to_thread.run_sync(shutil.copyfileobj, source, file)
                file.flush()
                wants_pictures = request.query_params.get('pictures') in ('true', '1')
                return JSONResponse(await self._analyze(Path(file.name), wants_pictures))
        if connected.cancelled_caught:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        seconds = f'{self.limits.timeout:g} s'
        raise HTTPException(503, f'there was no answer within {seconds}; try again', RETRY)

    async def _analyze(self, path, wants_pictures):
        async with self.decoder(path) as clip:
            inputs = torch.from_numpy(clip.inputs)
            answer = await self.recognize(inputs)
            answer['seconds'] = dict(decoding=clip.seconds, **answer['seconds'])
            seen = wants_pictures and await _in(self.model_thread, self._inspect, inputs)
        if wants_pictures:
            drawn = await _in(self.picture_thread, pictures, seen) if seen else []
            answer['pictures'] = drawn
        return answer

    def recognize_clips(self, clips: list) -> list:
        """Give the answers about clips, the model's inputs, in one batch."""
        began = time.perf_counter()
        batch = [
            (number, dict(inputs=inputs, data_samples=ActionDataSample()), None)
            for number, inputs in enumerate(clips)
        ]
        results = list(self.inferencer.recognize(batch))
        took = round(time.perf_counter() - began, 4)
        for result in results:
            del result['video']
            result['seconds'] = dict(recognition=took)
        return results

    def _one_by_one(self, recognize):
        async def recognize_one(clip):
            (answer,) = await _in(self.model_thread, recognize, [clip])
            return answer

        return recognize_one

    def _inspect(self, inputs):
        with suppress(ValueError):  # an exported file, or not a PAN
            return inspect_clip(self.inferencer.model, inputs)
        return None

    async def open_camera(self, request: Request) -> Response:
        """Follow another live camera, under an unguessable name."""
        await request.body()  # read it, so that none of it passes for a request
        if not self.streams:
            raise HTTPException(404, 'this model cannot follow a camera')
        if self._count_cameras() >= self.limits.cameras:
            raise HTTPException(
                503, 'this server already follows as many cameras as it can; try again later', RETRY
            )
        name = secrets.token_urlsafe(16)
        self.cameras[name] = Camera(self.inferencer, self.stride, self.model_thread)
        return JSONResponse(dict(camera=name), 201)

    async def feed_camera(self, request: Request) -> Response:
        """Take a frame of a camera; answer the newest result, or null."""
        body = await request.body()
        camera = self.cameras.get(request.path_params['name'])
        if camera is None:
            raise HTTPException(410, 'this camera is not followed anymore; film again')

        def take():
            camera.put(decode_picture(body, self.limits))
            return camera.news()

        return JSONResponse(await _in(self.picture_thread, take))

    async def close_camera(self, request: Request) -> Response:
        """Forget a camera."""
        camera = self.cameras.pop(request.path_params['name'], None)
        if camera is not None:
            camera.close()
        return Response(status_code=204)

    def _count_cameras(self):
        """Count the cameras that are followed, and forget the others."""
        for name, camera in list(self.cameras.items()):
            if camera.following.done() and not camera.following.exception():
                self.cameras.pop(name, None)
        return len(self.cameras)

    async def health(self, request: Request) -> Response:
        """Tell that the process answers."""
        return JSONResponse(dict(status='ok'))

    async def readiness(self, request: Request) -> Response:
        """Tell that a video would be decoded."""
        await self.decoder.check()
        return JSONResponse(dict(status='ok'))

    async def metrics(self, request: Request) -> Response:
        """Give the metrics in Prometheus's format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def can_stream(model, stride: int) -> bool:
    """Tell whether a model, and its test pipeline, can follow a camera frame by frame."""
    image = np.zeros((240, 320, 3), np.uint8)
    try:
        StreamRecognizer(model, stride).push(image, 0.0, stride // 2)
    except (ValueError, AttributeError):  # an exported file, or not a PAN
        return False
    return True


async def receive_video(request: Request) -> UploadFile:
    """Read the video of a form.

    Raises:
        HTTPException: 415 if the request is not a form, 400 if the form is broken or too large in
            number, 422 if it has no file "video".
    """
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
    ProcessExpired: _handler(
        422, 'the decoder broke down at the file; it is damaged, or needs too much memory'
    ),
    CheckpointError: _handler(500),  # scores that are not finite
    Exception: _handler(500, 'the server failed at this request; its log says more'),
}
