"""Sparse decoding gives the frames that decoding everything gives."""

from fractions import Fraction

import numpy as np
import pytest

from pan_mm.datasets import VideoDecode, VideoInit
from pan_mm.datasets.decoding.container import open_video
from pan_mm.datasets.decoding.sparse_pyav import SparseReader
from pan_mm.utils.errors import VideoError

av = pytest.importorskip('av')


def write_video(path, codec, count=40, **options):
    """Noise that drifts, so that every frame is another and predicted from its neighbours."""
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = np.kron(picture, np.ones((8, 8, 1), np.uint8))  # 96 × 128
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, 'yuv420p'
        for number in range(count):
            image = np.roll(picture, 3 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode(None))
    return path


def all_frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]


def open_reader(path, num_threads=1):
    return SparseReader(open_video(path), num_threads)


@pytest.mark.parametrize('num_threads', [1, 2])
@pytest.mark.parametrize(
    ('name', 'codec', 'options'),
    [
        ('b_frames.mp4', 'libx264', dict(bf='3', g='12')),
        ('open_gop.mkv', 'libx264', {'bf': '3', 'g': '12', 'x264-params': 'open-gop=1'}),
        ('one_gop.mp4', 'libx264', dict(bf='3', g='250')),
        ('vp9.webm', 'libvpx-vp9', dict(g='12', deadline='realtime')),
        ('mpeg.mpg', 'mpeg1video', dict(bf='2', g='12')),
        ('no_times.avi', 'mpeg4', dict(bf='2', g='12')),
    ],
)
def test_equals_decoding_everything(tmp_path, name, codec, options, num_threads):
    path = write_video(tmp_path / name, codec, **options)
    expected = all_frames(path)
    reader = open_reader(path, num_threads)
    assert len(expected) <= len(reader) <= len(expected) + 1
    for indices in ([5], [17, 18, 19, 20], [0, 1, 13, 14, 38, 39], [30, 3, 3, 12], [39]):
        for index, frame in zip(indices, reader.get(indices)):
            assert np.array_equal(frame, expected[min(index, len(expected) - 1)]), (name, index)


def test_needless_frames_are_not_decoded(tmp_path):
    path = write_video(tmp_path / 'video.mp4', 'libx264', bf='3', g='10', sc_threshold='0')
    reader = open_reader(path)
    ranges = reader._ranges({reader._times[25]})
    assert sum(stop - start for start, stop in ranges) <= 10


def test_frames_can_be_changed_one_by_one(tmp_path):
    reader = open_reader(write_video(tmp_path / 'video.mp4', 'mpeg4'))
    first, second = reader.get([3, 3])
    first[:] = 0
    assert second.any()


def test_turned_video_stands_upright(clips_dir):
    for name, shape in (('rot90_3frames.mov', (568, 320)), ('rot0_3frames.mov', (320, 568))):
        (frame,) = open_reader(clips_dir / 'robustness' / name).get([1])
        assert frame.shape == (*shape, 3)


def test_errors(tmp_path):
    path = write_video(tmp_path / 'video.mp4', 'mpeg4', count=5)
    with pytest.raises(IndexError, match='there are 5 frames'):
        open_reader(path).get([5])
    with pytest.raises(VideoError):
        SparseReader(open_video(path.read_bytes()[:-100].replace(b'moov', b'none')))


def test_is_the_default(videos):
    results = VideoInit().transform(dict(filename=str(videos / '0.mp4')))
    assert results['video_backend'] == 'pyav'
    results = VideoDecode().transform(dict(results, frame_inds=np.array([[0, 1], [2, 2]])))
    assert [image.shape for image in results['imgs']] == [(48, 64, 3)] * 4
    assert results['img_shape'] == (48, 64)
    assert results['avg_fps'] == 25


@pytest.mark.real_data
@pytest.mark.parametrize(
    'name',
    [
        'derived_portrait_270x480_utd_a1_s5_t2.mp4',
        'sthv2_166766_vp9_in_webm_named.mp4',
        'ucf101_v_ApplyEyeMakeup_g01_c01.avi',
        'utd_mhad_a1_s3_t3_color.avi',
    ],
)
def test_real_clips_equal_decord(clips_dir, name):
    decord = pytest.importorskip('decord')
    path = clips_dir / 'labelled' / name
    reader = open_reader(path)
    indices = [0, 11, 12, 13, 14, len(reader) - 1]
    images = np.stack(reader.get(indices))
    decoder = decord.VideoReader(str(path), num_threads=1)  # as MMAction2 has it
    assert len(reader) == len(decoder)
    expected = decoder.get_batch(indices).asnumpy()
    assert np.array_equal(images[:-1], expected[:-1])
    assert np.array_equal(images[-1], all_frames(path)[-1])
    # Instead of the last frame, Decord at times gives the one that it gave before.
    assert any(np.array_equal(expected[-1], image) for image in images[-2:])
