"""Opening and decoding videos with what is installed, with errors that name the file."""

import importlib.util

import cv2
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .door import VideoError
from .sparse_pyav import MISSING

# backend: (module that it needs, transforms NAMEInit and NAMEDecode), the best first
BACKENDS = dict(
    pyav=('av', 'SparsePyAV'),  # ours, quicker than MMAction2's
    decord=('decord', 'Decord'),
    opencv=('cv2', 'OpenCV'),
)


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video with the best decoder that is installed.

    Required key: filename. Added keys: video_reader, video_backend, video_fallbacks,
    total_frames and what else the decoder's own transform adds; video_faults (what an earlier
    decoder had to say) where a later one opens the file.

    Args:
        backend (str): 'pyav', 'decord', 'opencv', or 'auto' for the first of these that is
            installed and reads the file. Defaults to 'auto'.
        **kwargs: Arguments of the decoder's own transform, such as ``num_threads``.

    Raises:
        ValueError: If the backend is unknown.
        VideoError: From :meth:`transform`, if the file is missing, empty or no video.
    """

    def __init__(self, backend: str = 'auto', **kwargs) -> None:
        if backend != 'auto' and backend not in BACKENDS:
            raise ValueError(f"backend must be 'auto', {', '.join(BACKENDS)}, got {backend!r}")
        self.backend = backend
        self.readers = {
            name: _build_init(name, kwargs)
            for name, (module, _) in BACKENDS.items()
            if name == backend or (backend == 'auto' and importlib.util.find_spec(module))
        }

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``."""
        return _first_that_works(list(self.readers.items()), _open, results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend={self.backend!r})'


@TRANSFORMS.register_module()
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

    def _decode(self, backend, reader, results):
        filename = results['filename']
        if reader is not None:
            results = _open(backend, reader, results)
        try:
            if backend not in self.decoders:
                kind = f'mmaction.{BACKENDS[backend][1]}Decode'
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


def _build_init(backend, kwargs):
    if backend == 'opencv':  # it would hand it to the file client
        kwargs = {key: value for key, value in kwargs.items() if key != 'num_threads'}
    return TRANSFORMS.build(dict(type=f'mmaction.{BACKENDS[backend][1]}Init', **kwargs))


def _first_that_works(attempts, step, results):
    """Call ``step(backend, reader, results)`` with each reader, until one raises no VideoError."""
    errors = []
    for number, (backend, reader) in enumerate(attempts):
        try:
            results = step(backend, reader, results)
        except VideoError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise
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


def _open(backend, reader, results):
    filename = results['filename']
    try:
        results = reader.transform(results)
    except FileNotFoundError as error:
        raise VideoError(
            f'{filename}: no such file; check data_prefix and the annotation file'
        ) from error
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
    capture = results['video_reader'].vcap
    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
    while there <= last and capture.grab():
        # One of the last may turn out to be the last that is there.
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
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
