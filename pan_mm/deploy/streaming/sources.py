"""Sources of frames: files, cameras and network addresses."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
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
FIRST_WAIT, LONGEST_WAIT = 0.5, 30  # seconds before a live source is opened again


class Frame(NamedTuple):
    """A frame of a source; where its index jumps, frames are missing."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not needed
    timestamp: float  # seconds since the start of a file; Unix time for a live source
    image: np.ndarray  # RGB, uint8, shape (H, W, 3)
    captured: Optional[float] = None  # time.perf_counter() when a live frame arrived


def open_source(
    address: Union[int, str, Path], buffer: Optional['FrameBuffer'] = None
) -> Union[Iterator[Frame], 'LiveSource']:
    """Open a video file, the camera of a number, or an address that OpenCV opens (``rtsp://…``).

    The frames of a live source wait in ``buffer``. Close what this gives in the end.

    Raises:
        VideoError: If a live source cannot be opened; a file's errors come with its first frame.
    """
    address = str(address)
    if '://' in address:
        return LiveSource(address, buffer)
    if address.isdecimal() and not Path(address).exists():
        return LiveSource(int(address), buffer)
    return read_frames(address)


def read_frames(path: Union[str, Path]) -> Iterator[Frame]:
    """Decode all frames of a video file, in order.

    Raises:
        VideoError: If it is missing, is not a video or exceeds 64 GiB, or if not a frame can be
            decoded.
    """
    with open_video(path, LIMITS) as video, video.open() as container:
        stream, to_rgb = video_stream(container), ToRGB(video)
        stream.thread_type = 'AUTO'
        interval = float(1 / (stream.average_rate or 25))
        index, start, timestamp = 0, 0.0, -interval
        for packet in chain(video.packets(container), [None]):  # None drains the decoder
            for frame in _decode(stream, packet):
                seconds = timestamp + interval if frame.time is None else frame.time - start
                if not index:
                    start, seconds = seconds, 0.0
                # AVI files have no times, joined ones restart theirs.
                timestamp = seconds if seconds > timestamp else timestamp + interval
                yield Frame(index, timestamp, to_rgb(frame))
                index += 1
    if not index:
        raise VideoError(
            f'{path}: no frame of it can be decoded; the file is damaged or its codec is '
            'missing, convert it with ffmpeg'
        )


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
        capacity (int): Frames that may wait, see :attr:`StreamRecognizer.buffer_len`.
        starts_segment (callable): Tests if a segment starts at the frame of an index.

    Attributes:
        dropped (int): Frames that came too late.
    """

    def __init__(self, capacity: int, starts_segment: Callable[[int], bool]) -> None:
        self.capacity = capacity
        self.starts_segment = starts_segment
        self.dropped = 0
        self._frames = deque()
        self._changed = threading.Condition()
        self._is_over = False

    def put(self, frame: Frame) -> None:
        """Add a frame; never waits."""
        with self._changed:
            if len(self._frames) >= self.capacity:
                self._drop()
                while self._frames and not self.starts_segment(self._frames[0].index):
                    self._drop()
            self._frames.append(frame)
            self._changed.notify()

    def _drop(self):
        self._frames.popleft()
        self.dropped += 1

    def end(self) -> None:
        """Let no more frames come."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._is_over)
                if not self._frames:
                    return
                frame = self._frames.popleft()
            yield frame


class LiveSource:
    """A camera or network stream, read by a thread of its own; late frames are dropped.

    When the stream breaks off it is opened again after 0.5 s, 1 s, 2 s, … up to 30 s, until it is
    closed. The frames' index then jumps, so that no segment spans the break; the recognizer keeps
    its window.

    Args:
        address (int | str): Number of a camera or a network address.
        buffer (FrameBuffer, optional): Where frames wait. By default 16 may.
        capture (callable, optional): Opens the address like ``cv2.VideoCapture``, the default.

    Raises:
        VideoError: If it cannot be opened at the start, or is a file.
    """

    def __init__(
        self,
        address: Union[int, str],
        buffer: Optional[FrameBuffer] = None,
        capture: Optional[Callable] = None,
    ) -> None:
        self.name = redact_url(address)
        self.buffer = buffer or FrameBuffer(16, lambda index: True)
        open_capture = capture or _capture
        self._open = lambda: open_capture(address)
        self._closed = threading.Event()
        opened = self._open()
        if not opened.isOpened():
            raise VideoError(
                f'{self.name}: cannot be opened; is the camera connected and not in use, are the '
                'address and the password right?'
            )
        if isinstance(address, str) and opened.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            raise VideoError(f'{self.name}: is a file, no live stream; download it first')
        self._thread = threading.Thread(target=self._run, args=(opened,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.buffer)

    def close(self) -> None:
        """Stop reading and release the device."""
        self._closed.set()
        self.buffer.end()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self, opened):
        try:
            self._read(opened)
        finally:
            self.buffer.end()

    def _read(self, opened):
        index, wait = 0, FIRST_WAIT
        while not self._closed.is_set():
            is_read, image = opened.read()
            if is_read:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                self.buffer.put(Frame(index, time.time(), image, time.perf_counter()))
                index, wait = index + 1, FIRST_WAIT
                continue
            message = f'{self.name}: no more frames, opening it again in {wait:g} s'
            warnings.warn(message, stacklevel=2)
            opened.release()
            if not self._closed.wait(wait):
                index += 1  # the recognizer sees this gap
                wait = min(2 * wait, LONGEST_WAIT)
                opened = self._open()
        opened.release()


def _capture(address):
    """Open an address with FFmpeg, since other backends would log its password."""
    if isinstance(address, str) and cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    return cv2.VideoCapture(address)
