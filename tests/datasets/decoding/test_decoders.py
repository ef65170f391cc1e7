"""Where decord, PyAV and OpenCV give the same of a real clip, and where they do not."""

import importlib.util

import numpy as np
import pytest

from pan_mm.datasets import VideoDecode, VideoInit
from pan_mm.datasets.decoding.video import BACKENDS
from pan_mm.utils.errors import VideoError

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(module) for module, *_ in BACKENDS.values()),
        reason='needs all decoders',
    ),
]

# (clip, decoder): what may be other there than with the first one that reads the clip, PyAV.
# Later versions of a decoder may give the same as PyAV.
DIFFERENCES = {
    ('av1.mkv', 'decord'): 'error',
    ('av1.mkv', 'opencv'): 'error',
    ('pathological_4x4_20frames.avi', 'decord'): 'error',
    # The last frame: the file promises one more than there is, and decord repeats another one.
    ('hmdb_style_48frames.avi', 'decord'): 'frames',
    # OpenCV takes the count of such files from their duration.
    ('gulpio_vp8.webm', 'opencv'): 'count',
}
# Ten bits are rounded to eight in different ways, colours by different tables, and each version of
# FFmpeg in a decoder has its own.
TOLERANCE = {'h264_10bit.mp4': 6, 'hevc_10frames.mp4': 1}
TOLERANCE |= {f'rot{angle}_3frames.mov': 1 for angle in (0, 90, 270)}


def read(path, backend):
    """Number of frames, and the first, middle and last one."""
    results = VideoInit(backend).transform(dict(filename=str(path)))
    count = results['total_frames']
    results['frame_inds'] = np.unique(np.linspace(0, count - 1, 3).astype(int))
    images = np.stack(VideoDecode().transform(results)['imgs'])
    assert images.dtype == np.uint8
    # This one is black, say all decoders; no other is.
    assert images.max() > 16 or path.name == 'pathological_4x4_20frames.avi'
    return count, images


def differences(path):
    """{decoder: what is other}"""
    found, read_by = {}, {}
    for backend in BACKENDS:
        try:
            read_by[backend] = read(path, backend)
        except VideoError as error:
            assert path.name in str(error)
            found[backend] = 'error'
    (count, images), *_ = read_by.values()
    for backend, (other_count, other_images) in list(read_by.items())[1:]:
        if other_count != count:
            found[backend] = 'count'
        elif other_images.shape != images.shape:
            found[backend] = 'shape'
        # At times, Decord repeats a frame instead of giving the last one.
        elif all(differ(images, again, path) for again in reads(path, backend, other_images)):
            found[backend] = 'frames'
    return found


def reads(path, backend, images):
    yield images
    for _ in range(4):
        yield read(path, backend)[1]


def differ(images, others, path):
    return np.abs(images.astype(int) - others).mean() > TOLERANCE.get(path.name, 0.1)


def test_every_difference_is_listed(clips_dir):
    found = {
        (path.name, backend): what
        for path in sorted((clips_dir / 'robustness').iterdir())
        for backend, what in differences(path).items()
    }
    assert found.items() <= DIFFERENCES.items()


def test_any_odd_clip_is_read_by_one_of_them(clips_dir):
    for path in sorted((clips_dir / 'robustness').iterdir()):
        count, images = read(path, 'auto')
        assert count >= len(images) >= 1


@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
def test_no_broken_file_is_read_by_any(clips_dir, backend):
    for path in sorted((clips_dir / 'negative').iterdir()):
        with pytest.raises(VideoError, match=path.name):
            read(path, backend)
