"""Where decord, PyAV and OpenCV give the same of a real clip, and where they do not."""

import importlib.util

import numpy as np
import pytest

from pan_mm.datasets import VideoDecode, VideoError, VideoInit
from pan_mm.datasets.decoding.video import BACKENDS

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(module) for module, *_ in BACKENDS.values()),
        reason='needs all decoders',
    ),
]

# (clip, decoder): what is other there than with the first one that reads the clip, PyAV
DIFFERENCES = {
    ('av1.mkv', 'decord'): 'cannot open',
    ('av1.mkv', 'opencv'): 'cannot decode',
    ('pathological_4x4_20frames.avi', 'decord'): 'cannot decode',
    # The last frame: the file promises one more than there is, and decord repeats another one.
    ('hmdb_style_48frames.avi', 'decord'): 'frames',
    # OpenCV takes the count of such files from their duration.
    ('gulpio_vp8.webm', 'opencv'): 'count',
}
# Ten bits are rounded to eight in different ways; HEVC colours by different tables.
TOLERANCE = {'h264_10bit.mp4': 4, 'hevc_10frames.mp4': 1}


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
            found[backend] = 'cannot open' if 'cannot open' in str(error) else 'cannot decode'
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


def test_the_list_of_differences_is_complete(clips_dir):
    found = {
        (path.name, backend): what
        for path in sorted((clips_dir / 'robustness').iterdir())
        for backend, what in differences(path).items()
    }
    # OpenCV's wheels differ in what they can decode; decord's have long been the same.
    of_opencv = {key: DIFFERENCES[key] for key in DIFFERENCES.keys() - found.keys()}
    assert all(backend == 'opencv' for _, backend in of_opencv)
    assert {**found, **of_opencv} == DIFFERENCES


def test_any_odd_clip_is_read_by_one_of_them(clips_dir):
    for path in sorted((clips_dir / 'robustness').iterdir()):
        count, images = read(path, 'auto')
        assert count >= len(images) >= 1


@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
def test_no_broken_file_is_read_by_any(clips_dir, backend):
    for path in sorted((clips_dir / 'negative').iterdir()):
        with pytest.raises(VideoError, match=path.name):
            read(path, backend)
