"""Sources of frames: files, cameras and network addresses."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Optional, Union

import av
import cv2
import numpy as np

from pan_mm.datasets.container import Limits, open_video, video_stream
from pan_mm.datasets.decoding import ToRGB
from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError

LIMITS = Limits(max_bytes=2**36, max_pixels=None)  # for a file whose frames come and go


class Frame(NamedTuple):
    """A frame of a source.

    Attributes:
        index (int): Its number at the source. At a jump, frames are missing in between.
        timestamp (float): Seconds since the start of a file; Unix time for a live source.
        image (np.ndarray): RGB, uint8, shape (H, W, 3).
        captured (float, optional): ``time.perf_counter()`` when a live frame arrived.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not needed
    timestamp: float
    image: np.ndarray
    captured: Optional[float] = None


def open_source(
    address: Union[int, str, Path],
    keep: Optional['FrameBuffer'] = None,
    retries: Optional[int] = None,
) -> Union['FileSource', 'LiveSource']:
    """Open a file, a camera or a network stream.

    Args:
        address (int | str | Path): A video file, the number of a camera, or the address of a live
            stream that OpenCV opens (``rtsp://…``, ``http://…``).
        keep (FrameBuffer, optional): Where frames of a live source wait.
        retries (int, optional): Retries of a live source, see :class:`LiveSource`.

    Raises:
        VideoError: If it cannot be opened.
    """
    address = str(address)
    if '://' in address:
        return LiveSource(address, keep, retries)
    if address.isdecimal() and not Path(address).exists():
        return LiveSource(int(address), keep, retries)
    return FileSource(address)


class FileSource:
    """Frames of a video file, all and in order. Iterating again starts from the beginning.

    Args:
        path (str | Path): A file.
        limits (Limits): Limits of its size. By default 64 GiB and any number of frames.

    Raises:
        VideoError: If it is missing, may not be read, is not a video or exceeds its limits; while
            iterating, if not a frame can be decoded.
    """

    live = False
    dropped = 0

    def __init__(self, path: Union[str, Path], limits: Limits = LIMITS) -> None:
        self.path = str(path)
        self._limits = limits
        with open_video(self.path, limits) as video, video.open():
            pass

    def __iter__(self) -> Iterator[Frame]:
        with open_video(self.path, self._limits) as video, video.open() as container:
            stream, to_rgb = video_stream(container), ToRGB(video)
            stream.thread_type = 'AUTO'
            interval = float(1 / (stream.average_rate or 25))
            index, count, start, timestamp = 0, 0, 0.0, -interval
            for packet in chain(video.packets(container), [None]):  # None drains the decoder
                if packet is not None and not packet.is_discard:
                    count += 1
                for frame in _decode(stream, packet):
                    seconds = timestamp + interval
                    if frame.pts is not None:
                        seconds = float(frame.pts * stream.time_base) - start
                    if not index:
                        start, seconds = seconds, 0.0
                    if seconds <= timestamp:  # AVI files with no or restarted times
                        seconds = timestamp + interval
                    timestamp = seconds
                    yield Frame(index, timestamp, to_rgb(frame))
                    index += 1
            announced = max(count, stream.frames)
        name = redact_url(self.path)
        if not index:
            raise VideoError(
                f'{name}: no frame of it can be decoded; the file is damaged or its codec is '
                'missing, convert it with ffmpeg'
            )
        if index < 0.9 * announced:  # many sound files announce one or two frames too many
            warnings.warn(
                f'{name}: only {index} of {announced} frames could be decoded; the file is '
                'damaged or cut off',
                stacklevel=2,
            )

    def close(self) -> None:
        """Do nothing: a file is open only while its frames are taken."""


def _decode(stream, packet) -> list:
    try:
        return stream.codec_context.decode(packet)
    except av.error.FFmpegError:  # what follows may be intact
        return []


class FrameBuffer:
    """Queue between a live source and the recognizer.

    When it is full, the oldest frames are dropped up to the next one that starts a segment. So no
    frame waits longer than ``capacity`` frames take to arrive, and whole segments are left.

    Args:
        capacity (int): Frames that may wait. At least stride + m - 1, so that a segment fits in
            wherever it begins.
        starts_segment (callable): Tests if a segment starts at the frame of an index.
        patience (float, optional): Seconds without a frame after which the stream counts as
            ended. Endless by default.
    """

    def __init__(
        self,
        capacity: int,
        starts_segment: Callable[[int], bool],
        patience: Optional[float] = None,
    ) -> None:
        self.capacity = capacity
        self.starts_segment = starts_segment
        self.patience = patience
        self.dropped = 0
        self._frames = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._error: Optional[Exception] = None

    def put(self, frame: Frame) -> None:
        """Add a frame; never waits."""
        with self._changed:
            if len(self._frames) >= self.capacity:
                self._drop()
            self._frames.append(frame)
            self._changed.notify()

    def _drop(self):
        self._frames.popleft()
        self.dropped += 1
        while self._frames and not self.starts_segment(self._frames[0].index):
            self._frames.popleft()
            self.dropped += 1

    def end(self, error: Optional[Exception] = None) -> None:
        """Let no more frames come, because of ``error`` if given."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._is_over, self.patience)
                if not self._frames:
                    if self._error is not None:
                        raise self._error
                    return
                frame = self._frames.popleft()
            yield frame


class LiveSource:
    """A camera or network stream, read by a thread of its own; late frames are dropped.

    When the stream breaks off it is opened again after 0.5 s, 1 s, 2 s, … up to 30 s. The frames'
    index then jumps, so that no segment spans the break; the recognizer keeps its window.

    Args:
        address (int | str): Number of a camera or a network address.
        keep (FrameBuffer, optional): Where frames wait. By default 16 may, and are dropped singly.
        retries (int, optional): Attempts to open a stream that broke off before giving up.
            Endless by default.
        capture (callable, optional): Opens the address like ``cv2.VideoCapture``, the default.
        backoff (float): Seconds before the first attempt. Defaults to 0.5.

    Raises:
        VideoError: If it cannot be opened at the start; while iterating, if ``retries`` attempts
            failed.
    """

    live = True

    def __init__(
        self,
        address: Union[int, str],
        keep: Optional[FrameBuffer] = None,
        retries: Optional[int] = None,
        capture: Optional[Callable] = None,
        backoff: float = 0.5,
    ) -> None:
        self.address = address
        self.buffer = keep or FrameBuffer(16, lambda index: True)
        self.retries = retries
        self.backoff = backoff
        self.reconnects = 0
        self._capture = capture or _capture
        self._closed = threading.Event()
        opened = _open(address, self._capture)
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name='pan_mm live source', daemon=True
        )
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were dropped because they came too late."""
        return self.buffer.dropped

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.buffer)

    def close(self) -> None:
        """Stop reading and release the device."""
        self._closed.set()
        self.buffer.end()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def __enter__(self) -> 'LiveSource':
        return self

    def __exit__(self, *args) -> None:
        self.close()

    def _run(self, capture):
        index, error = 0, None
        try:
            while capture is not None:
                index = self._read(capture, index) + 1  # the recognizer sees this gap
                capture = self._reconnect()
        except Exception as failure:  # for the thread that takes the frames
            error = failure
        self.buffer.end(error)

    def _read(self, capture, index):
        """Take in frames until there are no more; return the index after the last."""
        try:
            while not self._closed.is_set() and (image := _read_rgb(capture)) is not None:
                self.buffer.put(Frame(index, time.time(), image, time.perf_counter()))
                index += 1
        finally:
            capture.release()
        return index

    def _reconnect(self):
        """Open the stream again; None if it is closed meanwhile."""
        wait, attempts = self.backoff, 0
        while not self._closed.is_set():
            if attempts == self.retries:
                raise VideoError(
                    f'{redact_url(self.address)}: the stream broke off and could not be '
                    f'opened again in {attempts} attempts'
                )
            warnings.warn(
                f'{redact_url(self.address)}: no more frames, opening it again in {wait:g} s',
                stacklevel=2,
            )
            if self._closed.wait(wait):
                break
            attempts += 1
            wait = min(2 * wait, 30)
            with suppress(VideoError):
                capture = _open(self.address, self._capture)
                self.reconnects += 1
                return capture
        return None


def _capture(address):
    """Open an address with FFmpeg, since other backends would log its password."""
    if isinstance(address, str) and cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    return cv2.VideoCapture(address)


def _open(address, capture=_capture):
    opened = capture(address)
    if opened.isOpened():
        opened.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # off by default in OpenCV 4.11
    if not opened.isOpened():
        opened.release()
        if isinstance(address, int):
            raise VideoError(f'camera {address} cannot be opened; is it connected and not in use?')
        raise VideoError(
            f'{redact_url(address)}: cannot be opened; check the address, the network and '
            'the password'
        )
    if isinstance(address, str) and opened.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        opened.release()
        raise VideoError(f'{redact_url(address)}: is a file, no live stream; download it first')
    return opened


def _read_rgb(capture):
    """Read the next frame; None at the end or on a failure."""
    read, image = capture.read()
    if not read or image is None:
        return None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
