"""Sparse decoding gives the frames that decoding everything gives."""

import subprocess

import av
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from builders import decode, write_video
from pan_mm.datasets import PANSampleFrames, VideoInit
from pan_mm.datasets.container import open_video
from pan_mm.datasets.decoding import SparseReader
from pan_mm.utils.errors import VideoError


def write_noise(path, codec, count=40, **options):
    """Noise that drifts, so that every frame is another and predicted from its neighbors."""
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = np.kron(picture, np.ones((8, 8, 1), np.uint8))  # 96 × 128
    pictures = [np.roll(picture, 3 * number, axis=1) for number in range(count)]
    return write_video(path, pictures, codec, **options)


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
    path = write_noise(tmp_path / name, codec, **options)
    expected = all_frames(path)
    reader = open_reader(path, num_threads)
    assert len(expected) <= len(reader) <= len(expected) + 1
    everything = [*reader]
    assert all(map(np.array_equal, everything, expected)) and len(everything) == len(expected)
    for indices in ([5], [17, 18, 19, 20], [0, 1, 13, 14, 38, 39], [30, 3, 3, 12], [39]):
        for index, frame in zip(indices, reader.get(indices)):
            assert np.array_equal(frame, expected[min(index, len(expected) - 1)]), (name, index)


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_a_phone_held_another_way(tmp_path, degrees):
    """The file says how its frames are to be turned, counterclockwise."""
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:32, :64] = 255
    path = write_video(tmp_path / 'level.mp4', [picture] * 4, 'libx264')
    turn = ['-display_rotation', str(degrees), '-i', str(path), '-c', 'copy']
    command = [get_ffmpeg_exe(), '-loglevel', 'error', *turn, str(tmp_path / 'turned.mp4')]
    subprocess.run(command, check=True)
    (frame,) = open_reader(tmp_path / 'turned.mp4').get([2])
    expected = np.rot90(picture, degrees // 90)
    assert frame.shape == expected.shape
    assert ((frame > 127) == (expected > 127)).mean() > 0.99


def test_frames_can_be_changed_one_by_one(tmp_path):
    reader = open_reader(write_noise(tmp_path / 'video.mp4', 'mpeg4'))
    first, second = reader.get([3, 3])
    first[:] = 0
    assert second.any()


def test_errors(tmp_path):
    path = write_noise(tmp_path / 'video.mp4', 'mpeg4', count=5)
    with pytest.raises(IndexError, match='there are 5 frames'):
        open_reader(path).get([5])
    with pytest.raises(VideoError):
        SparseReader(open_video(path.read_bytes()[:-100].replace(b'moov', b'none')))


def test_frames_of_any_arrangement(videos):
    results = decode(videos / '0.mp4', [[0, 1], [2, 2]])
    assert [image.shape for image in results['imgs']] == [(48, 64, 3)] * 4
    assert results['img_shape'] == (48, 64)
    assert results['avg_fps'] == 25


class TestTimeline:
    """The frames that a decoder shows are the timeline, whatever the container lists."""

    def expect(self, path, expected):
        images = decode(path, None)['imgs']
        assert len(images) == len(expected)
        for index, image in enumerate(images):
            assert np.array_equal(image, expected[index]), index

    def test_a_cover_picture_is_not_the_video(self, tmp_path):
        plain = write_noise(tmp_path / 'plain.mp4', 'libx264')
        path = tmp_path / 'cover.mkv'
        with av.open(str(plain)) as source, av.open(str(path), 'w') as file:
            cover = file.add_stream('mjpeg', rate=1)  # the first stream
            cover.width, cover.height, cover.pix_fmt = 320, 240, 'yuvj420p'
            cover.disposition = av.stream.Disposition.attached_pic
            video = file.add_stream_from_template(source.streams.video[0])
            picture = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 200, np.uint8))
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = video
                    file.mux(packet)
            file.mux([*cover.encode(picture), *cover.encode()])
        with av.open(str(path)) as file:
            assert file.streams.video[0].codec_context.name == 'mjpeg'
        self.expect(path, all_frames(plain))

    def test_joined_recordings(self, tmp_path):
        """The clock of the second begins again, so that their times lie between one another."""
        options = dict(bf='2', g='12')
        first = write_noise(tmp_path / 'a.ts', 'libx264', **options)
        second = write_noise(tmp_path / 'b.ts', 'libx264', 30, **options)
        path = tmp_path / 'joined.ts'
        path.write_bytes(first.read_bytes() + second.read_bytes())
        self.expect(path, all_frames(first) + all_frames(second))

    def test_hidden_frames(self, tmp_path):
        """A packet of VP8 may hold a frame that only others refer to."""
        plain = write_noise(tmp_path / 'plain.webm', 'libvpx', deadline='realtime')
        path = tmp_path / 'hidden.webm'
        with av.open(str(plain)) as source, av.open(str(path), 'w') as file:
            video = file.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
                content = bytes(packet)
                packet.stream = video
                file.mux(packet)
                if number == 0:  # the same again, not to be shown
                    hidden = av.Packet(bytes([content[0] & ~0x10]) + content[1:])
                    hidden.stream, hidden.time_base = video, packet.time_base
                    hidden.pts = hidden.dts = packet.pts + 1
                    file.mux(hidden)
        with av.open(str(path)) as file:
            assert sum(packet.size > 0 for packet in file.demux(video=0)) == 41
        self.expect(path, all_frames(plain))

    def test_a_recording_that_begins_between_keyframes(self, tmp_path):
        plain = write_noise(tmp_path / 'plain.mp4', 'libx264', bf='0', g='12', sc_threshold='0')
        path = tmp_path / 'late.mkv'
        with av.open(str(plain)) as source, av.open(str(path), 'w') as file:
            video = file.add_stream_from_template(source.streams.video[0])
            for packet in list(source.demux(video=0))[5:]:
                if packet.size:
                    packet.stream = video
                    file.mux(packet)
        self.expect(path, all_frames(plain)[12:])

    def test_a_container_that_lists_too_many_spreads_what_there_is(self, tmp_path):
        path = write_noise(tmp_path / 'video.avi', 'mpeg4', 20)
        reader, expected = open_reader(path), all_frames(path)
        reader._times += [(0, None)] * 2
        images = reader.get(range(22))
        assert np.array_equal(images[0], expected[0]) and np.array_equal(images[-1], expected[-1])
        assert not np.array_equal(images[-1], images[-3])
        reader._times += [(0, None)]
        with pytest.raises(ValueError, match='only 20 of 23 frames can be decoded'):
            reader.get([22])


def decode_sampled(path):
    video = dict(total_frames=len(open_reader(path)), start_index=0)
    return decode(path, PANSampleFrames(4, test_mode=True)(video)['frame_inds'])['imgs']


def test_another_backend():
    with pytest.raises(ValueError, match="backend='decord'; .* use MMAction2's DecordInit"):
        VideoInit('decord')


@pytest.mark.real_data
def test_any_odd_clip_is_read(clips_dir):
    for path in sorted((clips_dir / 'robustness').iterdir()):
        images = np.stack(decode_sampled(path))
        assert len(images) == 32 and images.dtype == np.uint8
        # This one is black, say all decoders; no other is.
        assert images.max() > 16 or path.name == 'pathological_4x4_20frames.avi'


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
