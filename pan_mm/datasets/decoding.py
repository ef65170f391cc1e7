"""Decoding the sampled frames of a video, and as few others as the codec allows."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import av
import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError

from .container import DEFAULT, Limits, VideoFile, fetch_video, reason_of, video_stream
from .file_lists import holds_frames
from .frame_folder import FrameFolder

# Frames that a sound container may announce but not hold.
MISSING = 2
# FFmpeg's own decoders, which look at skip_frame with every packet; dav1d does once, when opened.
SKIPPING = ('h264', 'hevc', 'mpeg1video', 'mpeg2video', 'mpeg4', 'vp8', 'vp9')


class SparseReader:
    """Reads any frames of a video by their number, exactly.

    The container's timestamps say which packet holds which frame. Decoding begins at the last
    keyframe before a wanted frame and ends with it; on the way, frames that no other refers to
    are skipped, and only wanted frames are converted to RGB. Where timestamps cannot be trusted
    (AVI has none), all frames are decoded up to the last wanted one, and counted.

    Args:
        video (VideoFile): The video; it is read to its end and closed.
        num_threads (int): Threads that decode. Defaults to 1.

    Attributes:
        avg_fps (float): Frames per second, 0 where the file does not say.
    """

    def __init__(self, video: VideoFile, num_threads: int = 1) -> None:
        with video:
            self._container = video.open()
            self._packets = _from_first_keyframe(list(video.packets(self._container)))
        stream = video_stream(self._container)
        self._codec = stream.codec_context
        if video.limits.max_pixels is not None:
            # Later frames may be larger than the first. Codecs pad frames, hence twice the size.
            most = 2 * video.limits.max_pixels // max(1, len(self._packets))
            most = min(most, video.limits.max_frame_pixels)
            self._codec.options = dict(max_pixels=str(most))
        stream.thread_type = 'AUTO'
        self._codec.thread_count = num_threads
        self.avg_fps = float(stream.average_rate or 0)
        self._runs = _count_clock_restarts(self._packets)
        shown = [
            (run, packet.pts)
            for run, packet in zip(self._runs, self._packets)
            if not packet.is_discard and not _is_hidden(packet, self._codec.name)
        ]
        if not shown:
            raise VideoError(f'{video.name}: has no frames; replace the file')
        is_intra = all(packet.is_keyframe for packet in self._packets)
        has_times = self._container.format.name != 'avi' or is_intra
        has_times = has_times and all(pts is not None for _, pts in shown)
        self._is_indexed = has_times and len(set(shown)) == len(shown)
        self._times = sorted(shown) if self._is_indexed else shown
        self._image = ToRGB(video)

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode all frames in turn; each RGB, uint8, shape (H, W, 3)."""
        return map(self._image, self._decode_all())

    def get(self, indices: Sequence) -> list:
        """Decode the frames of these numbers, in any order; each RGB, uint8, shape (H, W, 3)."""
        indices = [int(index) for index in indices]
        if max(indices, default=0) >= len(self):
            raise IndexError(f'there are {len(self)} frames, asked for {max(indices)}')
        wanted = sorted(set(indices))
        frames = self._by_time(wanted) if self._is_indexed else {}
        if len(frames) < len(wanted):  # the decoder returns frames that the container does not list
            frames = self._by_count(wanted)
        times = Counter(indices)
        return [frames[i].copy() if times[i] > 1 else frames[i] for i in indices]

    def _by_time(self, wanted):
        indices = {self._times[index]: index for index in wanted}
        frames = {}
        for start, stop in self._ranges(indices):
            run = self._runs[start]
            for packet in [*self._packets[start:stop], None]:  # None drains the decoder
                if packet is not None and self._codec.name in SKIPPING:
                    is_wanted = (run, packet.pts) in indices
                    self._codec.skip_frame = 'DEFAULT' if is_wanted else 'NONREF'
                for frame in self._codec.decode(packet):
                    if (run, frame.pts) in indices:
                        frames[indices[run, frame.pts]] = self._image(frame)
            self._codec.flush_buffers()
        return frames

    def _ranges(self, times):
        """Find the ranges of packets that hold the wanted times and what these depend on."""
        ranges = []
        before = start = 0
        for number, packet in enumerate(self._packets):
            if number and self._runs[number] != self._runs[number - 1]:
                before = start = number
            if packet.is_keyframe:
                before, start = start, number
            if (self._runs[number], packet.pts) in times:
                # Frames shown before the keyframe that they follow may refer to earlier frames.
                first = before if packet.pts < self._packets[start].pts else start
                is_same_run = ranges and self._runs[ranges[-1][0]] == self._runs[first]
                if is_same_run and first <= ranges[-1][1]:
                    ranges[-1][1] = number + 1
                else:
                    ranges.append([first, number + 1])
        return ranges

    def _by_count(self, wanted):
        """Decode from the first frame on, and count."""
        frames, count = self._decode_numbers(set(wanted))
        if len(frames) == len(wanted):
            return frames
        if not count or len(self) - count > MISSING:
            raise ValueError(f'only {count} of {len(self)} frames can be decoded')
        # The frames that there are take the places of all that the container lists.
        places = {index: index * (count - 1) // max(len(self) - 1, 1) for index in wanted}
        there, _ = self._decode_numbers(set(places.values()))
        return {index: there[place] for index, place in places.items()}

    def _decode_numbers(self, wanted):
        """Decode until all wanted frames are there; give them and how many frames were decoded."""
        frames, count = {}, 0
        for count, frame in enumerate(self._decode_all(), 1):
            if count - 1 in wanted:
                frames[count - 1] = self._image(frame)
            if len(frames) == len(wanted):
                break
        return frames, count

    def _decode_all(self):
        self._codec.skip_frame = 'DEFAULT'
        try:
            for packet in [*self._packets, None]:  # None drains the decoder
                yield from self._codec.decode(packet)
        finally:
            self._codec.flush_buffers()


class ToRGB:
    """Makes RGB arrays, uint8, shape (H, W, 3), of PyAV's frames, the right way up."""

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._reformatter = av.video.reformatter.VideoReformatter()

    def __call__(self, frame) -> np.ndarray:
        self._video.check_size(frame.width, frame.height)
        image = self._reformatter.reformat(frame, format='rgb24').to_ndarray()
        turns = getattr(frame, 'rotation', 0) // 90 % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _from_first_keyframe(packets):
    """Leave out what a recording that began between keyframes cannot show."""
    first = next((number for number, packet in enumerate(packets) if packet.is_keyframe), 0)
    return packets[first:]


def _count_clock_restarts(packets):
    """Number the runs of packets within which the clock goes forward; joined files have several."""
    runs, last = [], None
    for packet in packets:
        restarts = last is not None and packet.dts is not None and packet.dts < last
        runs.append((runs[-1] if runs else 0) + restarts)
        last = last if packet.dts is None else packet.dts
    return runs


def _is_hidden(packet, codec):
    """Tell whether a packet of VP8 holds a frame that only others refer to (RFC 6386, 9.1)."""
    return codec == 'vp8' and not memoryview(packet)[0] & 0x10


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video for :class:`VideoDecode`.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps.

    Args:
        backend (str): 'pyav'; 'auto' is the same. Defaults to 'auto'.
        num_threads (int): Threads that decode; more than 1 pays where there are no worker
            processes. Defaults to 1.
        io_backend (str): Where files are: 'disk', or another backend of ``mmengine.fileio``.
            Defaults to 'disk'.
        max_bytes (int, optional): Size of a file. Defaults to 1 GiB; None for no limit.
        max_pixels (int, optional): Pixels of a video's frames, see
            :class:`~pan_mm.datasets.container.Limits`. Defaults to 2^36; None for no limit.
        **kwargs: Arguments of the backend of ``mmengine.fileio``.

    Raises:
        VideoError: From :meth:`transform`, if the file is not a video, or too large.
    """

    def __init__(
        self,
        backend: str = 'auto',
        num_threads: int = 1,
        io_backend: str = 'disk',
        max_bytes: Optional[int] = DEFAULT.max_bytes,
        max_pixels: Optional[int] = DEFAULT.max_pixels,
        **kwargs,
    ) -> None:
        if backend not in ('auto', 'pyav'):
            raise ValueError(
                f'VideoInit decodes with PyAV, got backend={backend!r}; for decord or OpenCV use '
                "MMAction2's DecordInit and DecordDecode, or OpenCVInit and OpenCVDecode"
            )
        self.num_threads = num_threads
        self.fetch: Callable = functools.partial(
            fetch_video, limits=Limits(max_bytes, max_pixels), io_backend=io_backend, **kwargs
        )

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``, a file, or a folder of frames."""
        name = results['filename']
        if os.path.isdir(name) and holds_frames(name):
            reader: Any = FrameFolder(name)
        else:
            reader = SparseReader(self.fetch(name), self.num_threads)
        results.update(video_reader=reader, total_frames=len(reader), avg_fps=reader.avg_fps)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_threads={self.num_threads})'


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames of the video that :class:`VideoInit` opened.

    Required keys: video_reader, frame_inds. Added keys: imgs (list of RGB frames, uint8, shape
    (H, W, 3)), original_shape, img_shape.

    Raises:
        VideoError: From :meth:`transform`, if a frame cannot be decoded.
    """

    def transform(self, results: dict) -> dict:
        """Decode ``results['frame_inds']``."""
        reader = results['video_reader']
        results['video_reader'] = None
        try:
            results['imgs'] = reader.get(np.ravel(results['frame_inds']))
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            if isinstance(error, VideoError):
                raise
            raise VideoError(
                f'{redact_url(results["filename"])}: cannot be decoded ({reason_of(error)}); the '
                'file is damaged or of a kind that FFmpeg cannot read; replace it'
            ) from error
        results['original_shape'] = results['img_shape'] = results['imgs'][0].shape[:2]
        return results
