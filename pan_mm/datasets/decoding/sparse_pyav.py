"""Decoding the sampled frames of a video, and as few others as the codec allows."""

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine import fileio

# Frames at the end that a container may promise and not hold: decoders count differently.
MISSING = 2


class SparseReader:
    """Reads any frames of a video by their number, exactly.

    The container's timestamps say which packet holds which frame. Decoding begins at the last
    keyframe before a wanted frame and ends with it; on the way, frames that no other refers to
    are skipped, and only wanted frames are converted to RGB. Where timestamps cannot be trusted
    (AVI has none), all frames are decoded up to the last wanted one, and counted.

    Args:
        file (BinaryIO): The video, seekable.
        num_threads (int): Threads that decode. Defaults to 1.

    Attributes:
        avg_fps (float): Frames per second, 0 where the file does not say.

    Raises:
        ValueError: If the file is no video.
    """

    def __init__(self, file: BinaryIO, num_threads: int = 1) -> None:
        import av

        self._container = av.open(file, 'r')
        if not self._container.streams.video:
            raise ValueError('it has no video stream')
        stream = self._container.streams.video[0]
        stream.thread_type = 'AUTO'
        stream.codec_context.thread_count = num_threads
        self.avg_fps = float(stream.average_rate or 0)
        self._packets = [packet for packet in self._container.demux(stream) if packet.size]
        times = [packet.pts for packet in self._packets if not packet.is_discard]
        is_intra = all(packet.is_keyframe for packet in self._packets)
        has_times = self._container.format.name != 'avi' or is_intra
        self._is_indexed = has_times and None not in times and len(set(times)) == len(times)
        self._times = sorted(times) if self._is_indexed else times
        self._codec = stream.codec_context
        self._to_rgb = av.video.reformatter.VideoReformatter()

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
        if len(frames) < len(wanted):  # the decoder gives other frames than the container lists
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
                # What is shown before the keyframe it follows may refer to frames before that.
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

    def _image(self, frame):
        image = self._to_rgb.reformat(frame, format='rgb24').to_ndarray()
        turns = getattr(frame, 'rotation', 0) // 90 % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


@TRANSFORMS.register_module(force=True)  # an upstream namesake must not break the import
class SparsePyAVInit(BaseTransform):
    """Open a video for :class:`SparsePyAVDecode`.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps.

    Args:
        io_backend (str): Where files are: 'disk', or another backend of ``mmengine.fileio``.
            Defaults to 'disk'.
        num_threads (int): Threads that decode; more than 1 pays where there are no worker
            processes. Defaults to 1.
        **kwargs: Arguments of the backend.
    """

    def __init__(self, io_backend: str = 'disk', num_threads: int = 1, **kwargs) -> None:
        self.io_backend = io_backend
        self.num_threads = num_threads
        self.backend_args = dict(kwargs, backend='local' if io_backend == 'disk' else io_backend)

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``."""
        file = io.BytesIO(fileio.get(results['filename'], self.backend_args))
        reader = SparseReader(file, self.num_threads)
        results.update(video_reader=reader, total_frames=len(reader), avg_fps=reader.avg_fps)
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
