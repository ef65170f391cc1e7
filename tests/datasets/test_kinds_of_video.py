"""Videos of every odd kind, made here, give the frames that are in them.

Frame i is a flat gray of 40 + 10 i with a bright bar at its top, so that a picture says which frame
it is and which way up.
"""

import itertools
import os
from contextlib import contextmanager

import av
import numpy as np
import pytest

from builders import decode, write_video

KINDS = {
    'plain': {},
    'one frame': dict(count=1),
    'gray': dict(pix_fmt='gray'),
    'ten bits': dict(pix_fmt='yuv420p10le'),
    'four by four pixels': dict(codec='ffv1', container='avi', size=(4, 4)),
    'odd size': dict(codec='ffv1', pix_fmt='yuv444p', container='mkv', size=(63, 49)),
    'variable frame rate': dict(steps=[1, 7, 2, 2, 11]),
    'HEVC': dict(codec='libx265'),
    'VP9': dict(codec='libvpx-vp9', container='webm'),
    'AV1': dict(codec='libsvtav1', container='mkv'),
}


def gray(index):
    return 40 + 10 * index


def picture_of(index, width, height, pix_fmt):
    picture = np.full((height, width, 3), gray(index), np.uint8)
    picture[: height // 4] = 250
    frame = av.VideoFrame.from_ndarray(picture)
    if pix_fmt == 'gray':  # from 16 to 235, as the luma of colored frames
        luma = frame.reformat(format='yuv420p').to_ndarray()[:height]
        frame = av.VideoFrame.from_ndarray(luma, 'gray')
    return frame.reformat(format=pix_fmt)


@contextmanager
def scheduling_kept():
    """Undo what SVT-AV1 does to the thread of a superuser: SCHED_FIFO at priority 99.

    Nothing else would run beside it, nor beside what it starts.
    """
    if not hasattr(os, 'sched_setscheduler'):  # not Linux
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@pytest.mark.parametrize('kind', KINDS.values(), ids=KINDS)
def test_the_frames_are_those_of_the_file(tmp_path, kind):
    kind = dict(dict(count=20, size=(64, 48), codec='libx264', pix_fmt='yuv420p'), **kind)
    (width, height), pix_fmt, count = kind['size'], kind['pix_fmt'], kind['count']
    path = tmp_path / f'video.{kind.get("container", "mp4")}'
    frames = [picture_of(index, width, height, pix_fmt) for index in range(count)]
    times = [0, *itertools.accumulate(kind.get('steps', [1]) * count)]
    try:
        with scheduling_kept():
            write_video(path, frames, kind['codec'], pix_fmt=pix_fmt, times=times)
    except av.error.FFmpegError:
        pytest.skip(f'no encoder for {kind}')
    images = decode(path, None)['imgs']
    assert len(images) == count
    assert images[0].shape == (height, width, 3)
    for index, image in enumerate(images):
        parts = image[: height // 7 or 1], image[height // 2 :]
        means = [part.mean() for part in parts]
        assert np.abs(np.subtract(means, (250, gray(index)))).max() <= 4, index
