"""Videos of every odd kind, made here, give the frames that are in them.

Frame i is a flat gray of 40 + 10 i with a bright bar at its top, so that a picture says which frame
it is and which way up.
"""

import os
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest

from pan_mm.datasets import VideoDecode, VideoInit

av = pytest.importorskip('av')

DEFAULTS = dict(
    codec='libx264',
    pix_fmt='yuv420p',
    container='mp4',
    count=20,
    size=(64, 48),
    steps=[1],
    turn=False,
)
KINDS = {
    'plain': {},
    'one frame': dict(count=1),
    'gray': dict(pix_fmt='gray'),
    'ten bits': dict(pix_fmt='yuv420p10le'),
    'four by four pixels': dict(codec='ffv1', container='avi', size=(4, 4)),
    'odd size': dict(codec='ffv1', pix_fmt='yuv444p', container='mkv', size=(63, 49)),
    'variable frame rate': dict(steps=[1, 7, 2, 2, 11]),
    'turned': dict(size=(128, 64), turn=True),
    'HEVC': dict(codec='libx265'),
    'VP9': dict(codec='libvpx-vp9', container='webm'),
    'AV1': dict(codec='libsvtav1', container='mkv'),
}


def gray(index):
    return 40 + 10 * index


def write_video(path, **kind):
    kind = {**DEFAULTS, **kind}
    width, height = kind['size']
    with av.open(str(path), 'w') as file:
        stream = file.add_stream(kind['codec'], rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, kind['pix_fmt']
        stream.codec_context.time_base = Fraction(1, 25)
        time = 0
        for index in range(kind['count']):
            picture = np.full((height, width, 3), gray(index), np.uint8)
            picture[: height // 4] = 250
            frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
            if (kind['codec'], kind['pix_fmt']) == ('libx264', 'gray'):
                # Its gray is from 16 to 235, as the luma of colored frames.
                luma = frame.reformat(format='yuv420p').to_ndarray()[:height]
                frame = av.VideoFrame.from_ndarray(luma, 'gray')
            frame = frame.reformat(format=kind['pix_fmt'])
            frame.pts, frame.time_base = time, Fraction(1, 25)
            time += kind['steps'][index % len(kind['steps'])]
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    if kind['turn']:
        turn(path, height)


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


def turn(path, height):
    """Write into an MP4 that it is to be shown a quarter turned, as phones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b'tkhd') + 44
    one, whole = 1 << 16, 1 << 30
    numbers = [0, one, 0, -one, 0, 0, height * one, 0, whole]
    content[matrix : matrix + 36] = b''.join(n.to_bytes(4, 'big', signed=True) for n in numbers)
    path.write_bytes(content)


def read(path):
    results = VideoInit().transform(dict(filename=str(path)))
    results['frame_inds'] = np.arange(results['total_frames'])
    return VideoDecode().transform(results)['imgs']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('kinds')
    for name, kind in KINDS.items():
        path = folder / f'{name}.{kind.get("container", "mp4")}'
        try:
            with scheduling_kept():
                write_video(path, **kind)
        except av.error.FFmpegError:  # a build without this encoder
            path.unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize('name', KINDS)
def test_the_frames_are_those_of_the_file(folder, name):
    found = list(folder.glob(f'{name}.*'))
    if not found:
        pytest.skip(f'no encoder for {name}')
    kind = {**DEFAULTS, **KINDS[name]}
    width, height = kind['size']
    images = read(found[0])
    assert len(images) == kind['count']
    assert images[0].shape == ((width, height, 3) if kind['turn'] else (height, width, 3))
    for index, image in enumerate(images):
        if kind['turn']:  # its top is at the right
            image = np.rot90(image)
        parts = image[: height // 7 or 1], image[height // 2 :]
        means = [part.mean() for part in parts]
        assert np.abs(np.subtract(means, (250, gray(index)))).max() <= 4, index
