"""Opening video files: which of them may be opened, and with which demuxer.

FFmpeg guesses a file's format, and follows playlists (HLS, DASH, ffconcat, SDP) to other files and
to the network. So a file is opened here only if it is regular, begins as one of ``CONTAINERS`` and
is within limits; PyAV gets a fixed demuxer and may open nothing else.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Optional, Union

import av
from mmengine import fileio

from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError

# FFmpeg demuxer: how its files begin, as (offset, bytes), and their suffixes. AVI files have
# two marks, and transport streams, which begin with any packet, are recognized by their spacing.
CONTAINERS = dict(
    mov=(
        tuple((4, box) for box in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip')),
        ('.3gp', '.m4v', '.mov', '.mp4'),
    ),
    matroska=(((0, b'\x1a\x45\xdf\xa3'),), ('.mkv', '.webm')),
    avi=((), ('.avi',)),
    mpegts=((), ('.mts', '.ts')),
    mpeg=(((0, b'\x00\x00\x01\xba'),), ('.mpeg', '.mpg')),
    mpegvideo=(((0, b'\x00\x00\x01\xb3'),), ()),
    flv=(((0, b'FLV\x01'),), ('.flv',)),
    ogg=(((0, b'OggS\x00'),), ('.ogv',)),
    asf=(((0, bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')),), ('.wmv',)),
)
VIDEO_SUFFIXES = tuple(sorted(suffix for _, suffixes in CONTAINERS.values() for suffix in suffixes))
KINDS = 'MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV or OGV'
LEAST = 256 * 256  # minimum pixels counted per frame: tiny frames take memory too
MOST_SLENDER = 32  # long side to short side: scaling by the short side makes slender frames huge


class VideoTooLargeError(VideoError):
    """A video that exceeds the limits."""


class Limits(NamedTuple):
    """Limits of the cost of a video; None for no limit."""

    max_bytes: Optional[int] = 2**30  # of the file
    # All frames together, each at least 256 × 256; the default is 18 minutes of 1080p or 9 hours of
    # 320 × 240, at 30 frames a second.
    max_pixels: Optional[int] = 2**36
    max_frame_pixels: int = 2**25  # of one frame; this holds 8K


DEFAULT = Limits()


class VideoFile:
    """An open file that begins as a known container; a context manager, which closes the file."""

    def __init__(self, name: str, file: BinaryIO, demuxer: str, limits: Limits) -> None:
        self.name, self.file, self.demuxer, self.limits = name, file, demuxer, limits

    def __enter__(self) -> 'VideoFile':
        return self

    def __exit__(self, *args) -> None:
        self.file.close()

    def open(self) -> Any:
        """Open it with PyAV, which reads nothing but this file; it has a stream of video."""
        self.file.seek(0)
        options = dict(protocol_whitelist='none', max_pixels=str(self.limits.max_frame_pixels))
        with self._naming('opened as a video'):
            container = av.open(
                self.file, format=self.demuxer, options=options, metadata_errors='replace'
            )
        codec = getattr(video_stream(container), 'codec_context', None)
        if codec is None:
            raise VideoError(
                f'{self.name}: it has no video stream of a known codec; remove or replace it, or '
                'convert it with ffmpeg'
            )
        self.check_size(codec.width, codec.height)
        codec.options = dict(max_pixels=options['max_pixels'])
        return container

    def check_size(self, width: int, height: int) -> None:
        """Refuse frames of an implausible size."""
        # FFmpeg reports no size for frames too large for it.
        if not 0 < width * height <= self.limits.max_frame_pixels:
            raise VideoTooLargeError(
                f'{self.name}: its frames are damaged, or larger than '
                f'{self.limits.max_frame_pixels:,} pixels; convert it with ffmpeg'
            )
        if max(width, height) > MOST_SLENDER * min(width, height):
            raise VideoTooLargeError(
                f'{self.name}: its frames of {width} × {height} are more than {MOST_SLENDER} times '
                'as long as wide; crop it with ffmpeg'
            )

    def packets(self, container: Any) -> Iterator:
        """Yield the packets of the video, each of a frame, within ``max_pixels``."""
        stream = video_stream(container)
        width, height = stream.codec_context.width, stream.codec_context.height
        most, pixels = self.limits.max_pixels, 0
        with self._naming('read to its end'):
            for packet in container.demux(stream):
                pixels += max(LEAST, width * height) if packet.size else 0
                if most is not None and pixels > most:
                    raise VideoTooLargeError(
                        f'{self.name}: its frames of {width} × {height} have more than {most:,} '
                        'pixels in all; cut it, or raise max_pixels'
                    )
                if packet.size:
                    yield packet

    @contextmanager
    def _naming(self, done):
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(
                f'{self.name}: cannot be {done} ({reason_of(error)}); it is damaged or cut off, '
                'remove or replace the file'
            ) from error


def video_stream(container: Any) -> Any:
    """Find the stream of video, which need not be the first: that may be a cover picture."""
    return container.streams.best('video')


def open_video(
    source: Union[str, Path, bytes], limits: Limits = DEFAULT, name: Optional[str] = None
) -> VideoFile:
    """Open a file, or bytes, as a video, or refuse it before any decoder sees it.

    Raises:
        VideoError: If there is no such file (then from a ``FileNotFoundError``), it may not be
            read, is not a regular file, or does not begin as a video.
        VideoTooLargeError: If it has more than ``limits.max_bytes``.
    """
    if isinstance(source, bytes):
        name, size, file = name or 'the video', len(source), io.BytesIO(source)
    else:
        name = name or redact_url(os.fspath(source))
        size, file = _open_regular(source, name)
    if limits.max_bytes is not None and size > limits.max_bytes:
        file.close()
        raise VideoTooLargeError(
            f'{name}: has {size:,} bytes, and at most {limits.max_bytes:,} are allowed; cut it, or '
            'raise max_bytes'
        )
    demuxer = _recognize(file.read(1024))
    if demuxer is None:
        file.close()
        problem = f'is not a video ({KINDS}) by its first bytes' if size else 'empty file'
        raise VideoError(f'{name}: {problem}; remove or replace it')
    return VideoFile(name, file, demuxer, limits)


def fetch_video(
    filename: str, limits: Limits = DEFAULT, io_backend: str = 'disk', **kwargs
) -> VideoFile:
    """Open a video of a data set, on the disk or by a backend of ``mmengine.fileio``."""
    if io_backend in ('disk', 'local'):
        return open_video(filename, limits)
    content = fileio.get(filename, dict(kwargs, backend=io_backend))
    return open_video(bytes(content), limits, redact_url(filename))


def _open_regular(path: Union[str, Path], name: str) -> tuple:
    """Open a file, but no pipe or device, which would wait; give its size, too."""
    try:
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            return found.st_size, open(path, 'rb')  # noqa: SIM115, a VideoFile closes it
    except FileNotFoundError as error:
        raise VideoError(f'{name}: no such file') from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise VideoError(f'{name}: cannot be opened ({reason_of(error)})') from error
    raise VideoError(f'{name}: is not a regular file')


def reason_of(error):
    """Extract the reason from an error of the system or of FFmpeg, without the file's name."""
    return getattr(error, 'strerror', None) or str(error)


def _recognize(head: bytes) -> Optional[str]:
    """Find the demuxer for what begins like this."""
    if head.startswith(b'RIFF') and head.startswith(b'AVI ', 8):
        return 'avi'
    for demuxer, (marks, _) in CONTAINERS.items():
        if any(head.startswith(mark, at) for at, mark in marks):
            return demuxer
    # Packets of 188 bytes, or of 192 with a clock before each, or of 204 with a checksum after.
    for first, step in ((0, 188), (4, 192), (0, 204)):
        if head[first : first + 4 * step : step] == b'GGGG':
            return 'mpegts'
    return None
