"""Decoding the sampled frames of a video, and as few others as the codec allows."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .container import DEFAULT, Limits, VideoFile, fetch

# Trailing frames that a container may announce but not hold: decoders count differently.
MISSING = 2


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

    Raises:
        VideoError: If the file is not a video, or exceeds its limits.
    """

    def __init__(self, video: VideoFile, num_threads: int = 1) -> None:
        with video:
            self._container = video.open()
            self._packets = list(video.packets(self._container))
        stream = self._container.streams.video[0]
        if video.limits.max_pixels is not None:
            # Later frames may be larger than the first. Codecs pad frames, hence twice the size.
            most = 2 * video.limits.max_pixels // max(1, len(self._packets))
            most = min(most, video.limits.max_frame_pixels)
            stream.codec_context.options = dict(max_pixels=str(most))
        stream.thread_type = 'AUTO'
        stream.codec_context.thread_count = num_threads
        self.avg_fps = float(stream.average_rate or 0)
        times = [packet.pts for packet in self._packets if not packet.is_discard]
        is_intra = all(packet.is_keyframe for packet in self._packets)
        has_times = self._container.format.name != 'avi' or is_intra
        self._is_indexed = has_times and None not in times and len(set(times)) == len(times)
        self._times = sorted(times) if self._is_indexed else times
        self._codec = stream.codec_context
        self._image = ToRGB()

    def __len__(self) -> int:
        return len(self._times)

    def get(self, indices: Sequence) -> list:
        """Decode frames.

        Args:
            indices (Sequence[int]): Numbers of frames, in any order, from 0.

        Returns:
            list[np.ndarray]: Each an RGB frame of its own, uint8, shape (H, W, 3).

        Raises:
            IndexError: If there is no frame of such a number.
            ValueError: If a frame cannot be decoded.
        """
        indices = [int(index) for index in indices]
        if indices and not 0 <= min(indices) <= max(indices) < len(self):
            raise IndexError(
                f'there are {len(self)} frames, asked for {min(indices)} … {max(indices)}'
            )
        wanted = sorted(set(indices))
        frames = self._by_time(wanted) if self._is_indexed else {}
        if len(frames) < len(wanted):  # the decoder returns frames that the container does not list
            frames = self._by_count(wanted)
        images, used = [], set()
        for index in indices:
            images.append(frames[index].copy() if index in used else frames[index])
            used.add(index)
        return images

    def _by_time(self, wanted):
        indices = {self._times[index]: index for index in wanted}
        frames = {}
        for start, stop in self._ranges(indices):
            for packet in [*self._packets[start:stop], None]:  # None drains the decoder
                if packet is not None:
                    is_wanted = packet.pts in indices
                    self._codec.skip_frame = 'DEFAULT' if is_wanted else 'NONREF'
                for frame in self._codec.decode(packet):
                    if frame.pts in indices:
                        frames[indices[frame.pts]] = self._image(frame)
            self._codec.flush_buffers()
        return frames

    def _ranges(self, times):
        """Ranges of packets that hold the wanted times and what these depend on."""
        ranges = []
        before = start = 0
        for number, packet in enumerate(self._packets):
            if packet.is_keyframe:
                before, start = start, number
            if packet.pts in times:
                # Frames shown before the keyframe that they follow may refer to earlier frames.
                first = before if packet.pts < self._packets[start].pts else start
                if ranges and first <= ranges[-1][1]:
                    ranges[-1][1] = number + 1
                else:
                    ranges.append([first, number + 1])
        return ranges

    def _by_count(self, wanted):
        self._codec.skip_frame = 'DEFAULT'
        frames, last, count = {}, None, 0
        remaining = set(wanted)
        for packet in [*self._packets, None]:
            for frame in self._codec.decode(packet):
                if count in remaining:
                    frames[count] = self._image(frame)
                    remaining.discard(count)
                last, count = frame, count + 1
            if not remaining:
                break
        self._codec.flush_buffers()
        if remaining and (not count or max(remaining) - (count - 1) > MISSING):
            raise ValueError(f'only {count} of {len(self)} frames can be decoded')
        for index in remaining:
            frames[index] = self._image(last)
        return frames


class ToRGB:
    """Makes RGB arrays, uint8, shape (H, W, 3), of PyAV's frames, the right way up."""

    def __init__(self) -> None:
        import av

        self._reformatter = av.video.reformatter.VideoReformatter()

    def __call__(self, frame) -> np.ndarray:
        image = self._reformatter.reformat(frame, format='rgb24').to_ndarray()
        turns = getattr(frame, 'rotation', 0) // 90 % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def open_sparse(video: VideoFile, num_threads: int = 1) -> dict:
    """What :class:`SparsePyAVInit` adds to the results."""
    reader = SparseReader(video, num_threads)
    return dict(video_reader=reader, total_frames=len(reader), avg_fps=reader.avg_fps)


@TRANSFORMS.register_module(force=True)  # an upstream namesake must not break the import
class SparsePyAVInit(BaseTransform):
    """Open a video for :class:`SparsePyAVDecode`.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps.

    Args:
        io_backend (str): Where files are: 'disk', or another backend of ``mmengine.fileio``.
            Defaults to 'disk'.
        num_threads (int): Threads that decode; more than 1 pays where there are no worker
            processes. Defaults to 1.
        max_bytes (int, optional): Size of a file. Defaults to 1 GiB; None for no limit.
        max_pixels (int, optional): Pixels of a video's frames, see :class:`Limits`. Defaults to
            2^36; None for no limit.
        **kwargs: Arguments of the backend.

    Raises:
        VideoError: From :meth:`transform`, if the file does not pass :func:`open_video`.
    """

    def __init__(
        self,
        io_backend: str = 'disk',
        num_threads: int = 1,
        max_bytes: Optional[int] = DEFAULT.max_bytes,
        max_pixels: Optional[int] = DEFAULT.max_pixels,
        **kwargs,
    ) -> None:
        self.io_backend = io_backend
        self.num_threads = num_threads
        self.limits = Limits(max_bytes, max_pixels)
        self.backend_args = kwargs

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``."""
        video = fetch(results['filename'], self.limits, self.io_backend, **self.backend_args)
        results.update(open_sparse(video, self.num_threads))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(io_backend={self.io_backend!r}, num_threads={self.num_threads})'
        )


@TRANSFORMS.register_module(force=True)  # an upstream namesake must not break the import
class SparsePyAVDecode(BaseTransform):
    """Decode the sampled frames of the video that :class:`SparsePyAVInit` opened.

    Required keys: video_reader, frame_inds. Added keys: imgs (list of RGB frames, uint8, shape
    (H, W, 3)), original_shape, img_shape.
    """

    def transform(self, results: dict) -> dict:
        """Decode ``results['frame_inds']``."""
        reader = results['video_reader']
        results['video_reader'] = None
        results['imgs'] = reader.get(np.ravel(results['frame_inds']))
        results['original_shape'] = results['img_shape'] = results['imgs'][0].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
