"""What the server refuses: too much at once, too large, or no video."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Union

import cv2

# How containers begin, (offset, bytes). FFmpeg goes by the contents alone and would follow a
# playlist (HLS, concat, SDP) to other files and addresses; those are text and are not here.
CONTAINERS = (
    *((4, box) for box in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip')),  # MP4, MOV
    (0, b'\x1a\x45\xdf\xa3'),  # Matroska, WebM
    (8, b'AVI '),
    (0, b'FLV'),
    (0, b'OggS'),
    (0, b'\x00\x00\x01\xba'),  # MPEG-PS
    (0, b'\x00\x00\x01\xb3'),  # MPEG video
    (0, b'\x30\x26\xb2\x75'),  # ASF, WMV
)


class Refusal(Exception):
    """A request that is not served.

    Args:
        status (int): HTTP status, 4xx or 503.
        message (str): What is wrong and how to mend it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limits(NamedTuple):
    """What a request may cost.

    Attributes:
        max_bytes (int): Of a request's body.
        max_seconds (float): Of a video.
        max_pixels (int): Of a frame. The default is 4K, 4096 × 2304.
        max_input (int): Pixels of a frame as the network gets it; a test pipeline that does not
            resize hands on what comes.
        timeout (float): Seconds to send a request, and seconds to serve it, waiting included.
        waiting (int): Requests that wait while one is served.
        cameras (int): Visitors' cameras that are followed at once.
    """

    max_bytes: int = 64 * 2**20
    max_seconds: float = 600.0
    max_pixels: int = 4096 * 2304
    max_input: int = 640 * 480
    timeout: float = 60.0
    waiting: int = 16
    cameras: int = 4


class Gate:
    """Lets one request at a time to the model and a few wait; the rest are refused.

    Who comes first is served first: a lock would let one who asks for every frame starve others.

    Args:
        waiting (int): Requests that may wait.
    """

    def __init__(self, waiting: int) -> None:
        self.capacity = waiting + 1
        self._count = threading.Lock()
        self._inside = 0
        self._changed = threading.Condition()
        self._tickets = deque()  # the first has the model

    @contextmanager
    def place(self) -> Iterator[None]:
        """Come in, or be refused with 503 if the queue is full."""
        with self._count:
            if self._inside >= self.capacity:
                raise Refusal(503, 'the server is busy; try again in a few seconds')
            self._inside += 1
        try:
            yield
        finally:
            with self._count:
                self._inside -= 1

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Have the model alone, or be refused with 503 at ``deadline`` of ``time.monotonic``."""
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
            left = max(0.0, deadline - time.monotonic())
            if not self._changed.wait_for(lambda: self._tickets[0] is ticket, left):
                self._tickets.remove(ticket)
                raise Refusal(503, 'the server was busy for too long; try again later')
        try:
            yield
        finally:
            with self._changed:
                self._tickets.popleft()
                self._changed.notify_all()


def check_video(path: Union[str, Path], limits: Limits) -> int:
    """Refuse a file that is no video, or too much of one, before it is decoded.

    Returns:
        int: Frames that it announces; 0 if it does not say.

    Raises:
        Refusal: 422 for no video, 413 for one that is too long or has too large frames.
    """
    with Path(path).open('rb') as file:
        head = file.read(512)
    if not head:
        raise Refusal(422, 'the file is empty')
    # Transport streams are packets of 188 or 192 bytes, each with its mark.
    packets = any(
        head[first : first + 2 * step : step] == b'GG' for first, step in ((0, 188), (4, 192))
    )
    if not packets and not any(head.startswith(mark, at) for at, mark in CONTAINERS):
        raise Refusal(422, 'the file is no video (MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV, OGV)')
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise Refusal(422, 'the file cannot be opened as a video; it is damaged or cut off')
        width, height, fps, frames = (
            capture.get(prop)
            for prop in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
            )
        )
    finally:
        capture.release()
    if width * height > limits.max_pixels:
        raise Refusal(
            413, f'the frames have {width:.0f} × {height:.0f} pixels; make the video smaller'
        )
    if fps > 0 and frames > limits.max_seconds * fps:
        raise Refusal(
            413,
            f'the video lasts {frames / fps:.0f} s, and at most {limits.max_seconds:.0f} s are '
            'allowed; cut it',
        )
    return max(0, int(frames))


def count_frames(path: Union[str, Path], copy: Path, limits: Limits) -> int:
    """Copy a video that does not say how long it is into one that does.

    Browsers record such files, and decoders that seek refuse them.

    Args:
        path (str | Path): A video that OpenCV opens.
        copy (Path): File to write, ``NAME.avi``.
        limits (Limits): ``max_seconds`` counts, at 60 frames a second.

    Returns:
        int: Its frames.

    Raises:
        Refusal: 413 if it is too long, 422 if not a frame can be decoded.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    writer, count = None, 0
    try:
        while True:
            read, image = capture.read()
            if not read:
                break
            if writer is None:
                size = image.shape[1::-1]
                writer = cv2.VideoWriter(str(copy), cv2.VideoWriter.fourcc(*'MJPG'), 25, size)
            writer.write(image)
            count += 1
            if count > limits.max_seconds * 60:
                raise Refusal(
                    413, f'the video lasts longer than {limits.max_seconds:.0f} s; cut it'
                )
    finally:
        capture.release()
        if writer is not None:
            writer.release()
    if not count:
        raise Refusal(422, 'not a frame of the file can be decoded; it is damaged')
    return count
