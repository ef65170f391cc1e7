"""Read requests and write answers of the HTTP API; any Starlette application can share this."""

import shutil
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Optional

import anyio
import numpy as np
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from pan_mm.datasets.container import VideoTooLargeError
from pan_mm.utils.errors import CheckpointError, VideoError

from .analysis import Analysis
from .pictures import live_picture

RETRY = {'Retry-After': '5'}  # with 503
YES, NO = ('true', '1', 'yes', 'on'), ('false', '0', 'no', 'off', '')


class _Parser(MultiPartParser):
    """Starlette's, with little of a body in memory."""

    spool_max_size = 64 * 2**10


def read_flag(request: Request, name: str) -> bool:
    """Read a parameter of the address that is true or false; false if it is not there.

    Raises:
        HTTPException: 422 if it is something else.
    """
    value = request.query_params.get(name, '').lower()
    if value not in YES + NO:
        raise HTTPException(422, f'{name} must be true or false')
    return value in YES


async def receive_video(request: Request, folder: Path) -> Path:
    """Write the uploaded video into a file whose name owes nothing to the client.

    Raises:
        HTTPException: 415 if the request is not a form, 400 if the form is broken or too large in
            number, 422 if it has no file "video".
    """
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        raise HTTPException(415, "send the video as a form's file: curl -F video=@clip.mp4 ADDRESS")
    parser = _Parser(
        request.headers, request.stream(), max_files=1, max_fields=4, max_part_size=1024
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    except ValueError as error:  # such as charset=undefined
        raise HTTPException(400, f'the form cannot be read: {error}') from None
    upload = form.get('video')
    if upload is None or isinstance(upload, str):
        raise HTTPException(422, 'the form has no file "video": curl -F video=@clip.mp4 ADDRESS')
    path = folder / 'video.mp4'  # whatever it is: MMAction2 wants a suffix
    with upload.file as source, path.open('wb') as target:
        await anyio.to_thread.run_sync(shutil.copyfileobj, source, target)
    return path


def analysis_json(analysis: Analysis, classes: list) -> dict:
    """Turn an analysis into what the API answers, without pictures."""
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
            events=events_json(timeline.events, classes),
        )
    return result


def live_json(
    top: list,
    events: list,
    latency: float,
    fps: float,
    dropped: int,
    missing: int,
    maps: Optional[np.ndarray] = None,
) -> dict:
    """Make what the API answers to a frame of a live camera.

    Args:
        top (list[dict]): As ``PANInferencer`` gives it, smoothed; empty before the first window.
        events (list[dict]): The newest ones, including those in progress.
        latency (float): Seconds from the arrival of the newest window's last frame to its scores.
        fps (float): Frames that come in a second.
        dropped (int): Frames that were left out because the server was too slow.
        missing (int): Frames that must still come for the first window.
        maps (np.ndarray, optional): PA maps of the newest segment as pictures, uint8, shape
            (m - 1, H, W, 3); None for the RGB stream.
    """
    answer = dict(top=top, events=events, dropped=dropped, missing=missing)
    answer.update(latency=round(latency, 4), fps=round(fps, 1))
    if maps is not None:
        answer['pictures'] = [live_picture(maps)]
    return answer


def events_json(events: list, classes: list) -> list:
    """Turn events into what the API answers."""
    return [
        dict(name=classes[label], start=round(start, 3), end=round(end, 3), score=round(score, 4))
        for label, start, end, score in events
    ]


def error_json(status: int, message: str, headers: Optional[dict] = None) -> JSONResponse:
    """Make the answer to a request that is not served."""
    return JSONResponse(dict(error=message), status, headers)


def _handler(status):
    return lambda request, error: error_json(status, str(error))


EXCEPTION_HANDLERS = {
    HTTPException: lambda request, error: error_json(
        error.status_code, str(error.detail), error.headers
    ),
    VideoTooLargeError: _handler(413),
    VideoError: _handler(422),
    CheckpointError: _handler(500),  # scores that are not finite
    BrokenProcessPool: lambda request, error: error_json(
        503, 'the decoders had to be restarted; try again', RETRY
    ),
    ClientDisconnect: lambda request, error: error_json(400, 'the request was cut off'),
    Exception: lambda request, error: error_json(
        500, 'the server failed at this request; its log says more'
    ),
}
