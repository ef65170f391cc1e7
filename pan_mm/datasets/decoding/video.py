"""Opening and decoding videos with what is installed, with errors that name the file."""

import functools
import importlib.util
from typing import Optional

import cv2
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from pan_mm.utils.addresses import redact_url
from pan_mm.utils.errors import VideoError

from .container import DEFAULT, Limits, RefusedVideoError, VideoFile, fetch
from .sparse_pyav import MISSING, open_sparse


def _open_decord(video: VideoFile, num_threads: int) -> dict:
    import decord

    with video, video.path() as path:
        reader = decord.VideoReader(path, num_threads=num_threads)
    return dict(video_reader=reader, total_frames=len(reader), avg_fps=reader.get_avg_fps())


def _open_opencv(video: VideoFile, num_threads: int) -> dict:
    with video, video.path() as path:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ValueError('OpenCV does not say why')
    return dict(video_reader=capture, total_frames=int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


# backend: (module that it needs, how it opens a video, MMAction2's transform NAMEDecode), the best
# first
BACKENDS = dict(
    pyav=('av', open_sparse, 'SparsePyAV'),  # ours, faster than MMAction2's
    decord=('decord', _open_decord, 'Decord'),
    opencv=('cv2', _open_opencv, None),
)


@TRANSFORMS.register_module(force=True)  # an upstream namesake must not break the import
class VideoInit(BaseTransform):
    """Open a video with the best decoder that is installed.

    Required key: filename. Added keys: video_reader, video_backend, video_fallbacks,
    total_frames, avg_fps (PyAV and decord), and video_faults (what an earlier decoder had to say)
    where a later one opens the file.

    Which files may be opened, :mod:`pan_mm.datasets.decoding.container` decides, with PyAV.

    Args:
        backend (str): 'pyav', 'decord', 'opencv', or 'auto' for the first of these that is
            installed and reads the file. Defaults to 'auto'.
        num_threads (int): Threads that decode, except for OpenCV. Defaults to 1.
        io_backend (str): Where files are: 'disk', or another backend of ``mmengine.fileio``.
            Defaults to 'disk'.
        max_bytes (int, optional): Size of a file. Defaults to 1 GiB; None for no limit.
        max_pixels (int, optional): Pixels of a video's frames, see
            :class:`~pan_mm.datasets.decoding.container.Limits`. Defaults to 2^36; None for no
            limit.
        **kwargs: Arguments of the backend of ``mmengine.fileio``.

    Raises:
        ValueError: If the backend is unknown.
        VideoError: From :meth:`transform`, if the file is missing, empty, not a video, or too
            large.
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
        if backend != 'auto' and backend not in BACKENDS:
            raise ValueError(f"backend must be 'auto', {', '.join(BACKENDS)}, got {backend!r}")
        self.backend = backend
        self.backends = [
            name
            for name, (module, *_) in BACKENDS.items()
            if name == backend or (backend == 'auto' and importlib.util.find_spec(module))
        ]
        self.num_threads = num_threads
        self.fetch = functools.partial(
            fetch, limits=Limits(max_bytes, max_pixels), io_backend=io_backend, **kwargs
        )

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``."""
        attempts = [(backend, self) for backend in self.backends]
        return _first_that_works(attempts, _open, results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend={self.backend!r})'


@TRANSFORMS.register_module(force=True)  # an upstream namesake must not break the import
class VideoDecode(BaseTransform):
    """Decode the sampled frames of the video that :class:`VideoInit` opened.

    What one decoder cannot decode, the next one of ``VideoInit(backend='auto')`` tries.

    Required keys: video_reader, video_backend, frame_inds. Added keys: imgs (list of RGB frames,
    uint8, shape (H, W, 3)), original_shape, img_shape.

    Raises:
        VideoError: From :meth:`transform`, if a frame cannot be decoded, or the file ends before
            the frames that it promises.
    """

    def __init__(self) -> None:
        self.decoders = {'opencv': _decode_with_opencv}

    def transform(self, results: dict) -> dict:
        """Decode ``results['frame_inds']``."""
        opened = (results['video_backend'], None)
        attempts = [opened, *results.get('video_fallbacks', ())]
        return _first_that_works(attempts, self._decode, results)

    def _decode(self, backend, init, results):
        filename = redact_url(results['filename'])
        if init is not None:
            results = _open(backend, init, results)
        try:
            if backend not in self.decoders:
                kind = f'mmaction.{BACKENDS[backend][2]}Decode'
                self.decoders[backend] = TRANSFORMS.build(dict(type=kind))
            results = self.decoders[backend](results)
        except VideoError:
            raise
        except Exception as error:
            raise VideoError(
                f'{filename}: {backend} cannot decode it ({_first_line(error)}); the file is '
                f'damaged or of a kind that {backend} cannot read; replace it, or try '
                'another backend of VideoInit'
            ) from error
        shape = results['imgs'][0].shape if len(results['imgs']) else None
        if shape is None or len(shape) != 3 or shape[2] != 3:
            raise VideoError(f'{filename}: {backend} gives no RGB frames (shape {shape})')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def _first_that_works(attempts, step, results):
    """Call ``step(backend, init, results)`` with each backend, until one raises no VideoError."""
    errors = []
    for number, (backend, init) in enumerate(attempts):
        try:
            results = step(backend, init, results)
        except RefusedVideoError:
            raise
        except VideoError as error:
            errors.append(error)
            continue
        results['video_fallbacks'] = attempts[number + 1 :]
        if errors:
            results.setdefault('video_faults', []).append(f'{errors[0]}; {backend} reads it')
        return results
    others = [backend for backend, _ in attempts[1:]]
    if not others:
        raise errors[0]
    raise VideoError(f'{errors[0]} (nor can {", ".join(others)})') from errors[-1]


def _open(backend, init, results):
    filename = redact_url(results['filename'])
    try:
        video = init.fetch(results['filename'])
        results.update(BACKENDS[backend][1](video, init.num_threads))
    except RefusedVideoError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise RefusedVideoError(
            f'{error}; check data_prefix and the annotation file'
        ) from error.__cause__
    except ImportError:
        raise
    except Exception as error:
        raise VideoError(
            f'{filename}: {backend} cannot open it as a video ({_first_line(error)}); '
            'remove or replace the file'
        ) from error
    if results['total_frames'] < 1:
        raise VideoError(f'{filename}: {backend} finds no frames; replace the file')
    results['video_backend'] = backend
    return results


def _decode_with_opencv(results):
    """Decode from the first frame on: at the end of a cut file, MMAction2 may seek for ever."""
    frame_inds, images, there = results['frame_inds'].reshape(-1), {}, 0
    wanted, last = set(frame_inds.tolist()), int(frame_inds.max())
    capture = results['video_reader']
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # OpenCV 4.11 does not rotate videos
    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
    while there <= last and capture.grab():
        # The last frame may come earlier than announced.
        if there in wanted or there >= last - MISSING:
            images[there] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
        there += 1
    if there < 1 or there < last + 1 - MISSING:
        raise ValueError(f'there is no frame {last} of {results["total_frames"]}')
    results['frame_inds'] = frame_inds.clip(max=there - 1)
    results['imgs'] = [images[i] for i in results['frame_inds']]
    results['original_shape'] = results['img_shape'] = results['imgs'][0].shape[:2]
    results['video_reader'] = None
    return results


def _first_line(error: Exception) -> str:
    text = redact_url(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
