"""Opening and decoding videos with what is installed, with errors that name the file."""

import importlib.util

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

# backend: (module that it needs, transforms NAMEInit and NAMEDecode), the best first
BACKENDS = dict(
    pyav=('av', 'SparsePyAV'),  # ours, quicker than MMAction2's
    decord=('decord', 'Decord'),
    opencv=('cv2', 'OpenCV'),
)


class VideoError(RuntimeError):
    """A video cannot be opened or decoded."""


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video with the best decoder that is installed.

    Required key: filename. Added keys: video_reader, video_backend, total_frames and what else
    the decoder's own transform adds.

    Args:
        backend (str): 'pyav', 'decord', 'opencv', or 'auto' for the first of these that is
            installed. Defaults to 'auto'.
        **kwargs: Arguments of the decoder's own transform, such as ``num_threads``..

    Raises:
        ValueError: If the backend is unknown.
        VideoError: From :meth:`transform`, if the file is missing, empty or no video.
    """

    def __init__(self, backend: str = 'auto', **kwargs) -> None:
        if backend == 'auto':
            backend = next(b for b, (m, _) in BACKENDS.items() if importlib.util.find_spec(m))
        if backend not in BACKENDS:
            raise ValueError(f"backend must be 'auto', {', '.join(BACKENDS)}, got {backend!r}")
        self.backend = backend
        self.reader = TRANSFORMS.build(
            dict(type=f'mmaction.{BACKENDS[backend][1]}Init', **kwargs),
        )

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``."""
        filename = results['filename']
        try:
            results = self.reader.transform(results)
        except FileNotFoundError as error:
            raise VideoError(
                f'{filename}: no such file; check data_prefix and the annotation file'
            ) from error
        except ImportError:
            raise
        except Exception as error:
            raise VideoError(
                f'{filename}: {self.backend} cannot open it as a video ({_first_line(error)}); '
                'remove or replace the file'
            ) from error
        if results['total_frames'] < 1:
            raise VideoError(f'{filename}: {self.backend} finds no frames; replace the file')
        results['video_backend'] = self.backend
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend={self.backend!r})'


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames of the video that :class:`VideoInit` opened.

    Required keys: video_reader, video_backend, frame_inds. Added keys: imgs (list of RGB frames,
    uint8, shape (H, W, 3)), original_shape, img_shape.

    Raises:
        VideoError: From :meth:`transform`, if a frame cannot be decoded.
    """

    def __init__(self) -> None:
        self.decoders = {}

    def transform(self, results: dict) -> dict:
        """Decode ``results['frame_inds']``."""
        filename, backend = results['filename'], results['video_backend']
        if backend not in self.decoders:
            self.decoders[backend] = TRANSFORMS.build(
                dict(type=f'mmaction.{BACKENDS[backend][1]}Decode')
            )
        try:
            results = self.decoders[backend].transform(results)
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
