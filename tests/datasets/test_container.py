"""Files that are not what they pretend to be."""

import functools
import os
import socket
import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from builders import PLAYLISTS, QuietHandler, decode, served, write_video
from pan_mm.datasets.container import CONTAINERS, VideoTooLargeError, open_video
from pan_mm.datasets.decoding import SparseReader
from pan_mm.deploy.streaming.sources import open_source, read_frames
from pan_mm.utils.errors import VideoError

av = pytest.importorskip('av')


class TestAdmission:
    @pytest.mark.parametrize(
        ('form', 'codec', 'demuxer'),
        [
            ('mp4', 'mpeg4', 'mov'),
            ('webm', 'libvpx', 'matroska'),
            ('avi', 'mpeg4', 'avi'),
            ('mpegts', 'mpeg2video', 'mpegts'),
            ('mpeg', 'mpeg1video', 'mpeg'),
            ('mpeg1video', 'mpeg1video', 'mpegvideo'),
            ('flv', 'flv', 'flv'),
            ('ogg', 'libtheora', 'ogg'),
            ('asf', 'mpeg4', 'asf'),
        ],
    )
    def test_every_container_under_a_wrong_name(self, tmp_path, form, codec, demuxer):
        pictures = [np.full((144, 176, 3), 20 * value, np.uint8) for value in range(12)]
        try:
            path = write_video(tmp_path / 'video.m3u8', pictures, codec, form)
        except ValueError:  # PyAV's word for a missing encoder
            pytest.skip(f'no encoder for {codec}')
        assert demuxer in CONTAINERS
        with open_video(path) as video:
            assert (video.demuxer, len(SparseReader(video))) == (demuxer, 12)
        assert len(list(read_frames(path))) == 12

    @pytest.mark.parametrize(('form', 'codec'), [('avi', 'mpeg4'), ('flv', 'flv')])
    def test_a_title_that_is_not_utf8(self, tmp_path, form, codec):
        pictures = [np.full((48, 64, 3), 20 * value, np.uint8) for value in range(3)]
        path = write_video(tmp_path / f'video.{form}', pictures, codec, title='a title')
        content = path.read_bytes()
        assert content.count(b'a title') == 1
        path.write_bytes(content.replace(b'a title', b'\xe9 title'))
        with open_video(path) as video:
            assert len(SparseReader(video)) == 3

    def test_remote_storage_that_a_config_names(self, videos, tmp_path):
        (tmp_path / 'list.mp4').write_text('#EXTM3U\n#EXTINF:1,\n0.mp4\n')
        (tmp_path / '0.mp4').write_bytes((videos / '0.mp4').read_bytes())
        with served(functools.partial(QuietHandler, directory=tmp_path)) as server:
            assert len(decode(f'{server.url}/0.mp4', range(12), io_backend='http')['imgs']) == 12
            with pytest.raises(VideoError, match='list.mp4: is not a video'):
                decode(f'{server.url}/list.mp4', io_backend='http')


# All that opens and decodes a video file, by name; each takes a path.
READERS = dict(dataset=decode, stream=lambda path: list(open_source(path)))


class TestLimits:
    @pytest.mark.parametrize('limit', [dict(max_bytes=1000), dict(max_pixels=35 * 256 * 256)])
    def test_of_a_dataset_can_be_raised(self, videos, limit):
        path = str(videos / '3.mp4')  # 36 frames
        with pytest.raises(VideoTooLargeError, match=f'3.mp4: .*raise {next(iter(limit))}'):
            decode(path, **limit)
        raised = {name: 100 * value for name, value in limit.items()}
        assert decode(path, **raised)['total_frames'] == 36

    def test_many_empty_frames(self, tmp_path):
        """A small file of 7 500 frames of 4096 × 2304 pixels is not decoded."""
        path = tmp_path / 'video.mkv'
        with av.open(str(path), 'w') as file:
            stream = file.add_stream('mpeg4', rate=25)
            stream.width, stream.height, stream.pix_fmt = 4096, 2304, 'yuv420p'
            black = av.VideoFrame.from_ndarray(np.zeros((2304 * 3 // 2, 4096), np.uint8), 'yuv420p')
            (packet,) = stream.encode(black)
            content = bytes(packet)
            for number in range(7500):
                packet = av.Packet(content if number == 0 else b'\x00\x00\x01\xb6\x50\x00')
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base, packet.is_keyframe = Fraction(1, 25), number == 0
                file.mux(packet)
        assert path.stat().st_size < 2**20
        with pytest.raises(VideoTooLargeError, match='of 4096 × 2304 have more than'):
            decode(path)  # a stream goes frame by frame, as long as it takes

    @pytest.mark.parametrize('size', [(4, 4096), (4096, 8)])
    def test_slender_frames(self, tmp_path, size):
        """A small file whose frames become huge when their short side is scaled up."""
        picture = np.zeros((*size[::-1], 3), np.uint8)
        path = write_video(tmp_path / 'video.avi', [picture], 'ffv1')
        for read in READERS.values():
            with pytest.raises(VideoTooLargeError, match=f'frames of {size[0]} × {size[1]} are'):
                read(path)

    def test_frames_that_grow(self, tmp_path):
        """The frames after the first are larger than what the header announces."""
        small, large = (
            cv2.imencode('.jpg', np.zeros((side, side, 3), np.uint8))[1].tobytes()
            for side in (64, 2048)
        )
        path = tmp_path / 'video.avi'
        path.write_bytes(avi([small, *9 * [large]], (64, 64)))
        with pytest.raises(VideoError, match='video.avi: cannot be decoded'):
            decode(path, range(10), max_pixels=10 * 256 * 256)


class TestNotAFile:
    @pytest.mark.parametrize('name', READERS)
    def test_pipes_devices_and_holes(self, tmp_path, name):
        os.mkfifo(tmp_path / 'pipe.mp4')
        (tmp_path / 'zero.mp4').symlink_to('/dev/zero')
        (tmp_path / 'hole.avi').write_bytes(b'RIFF\0\0\0\0AVI ')
        os.truncate(tmp_path / 'hole.avi', 2**40)
        for file, what in (
            ('pipe.mp4', 'is not a regular file'),
            ('zero.mp4', 'is not a regular file'),
            ('hole.avi', 'has 1,099,511,627,776 bytes, and at most'),
            ('none.mp4', 'no such file'),
            ('x\0.mp4', 'cannot be opened'),
        ):
            with pytest.raises(VideoError, match=f'{file}: .*{what}'):
                READERS[name](tmp_path / file)


MAGICS = dict(
    avi=b'RIFF\xff\0\0\0AVI ',
    mov=b'\0\0\0\x10ftypisom',
    mdat=b'#EXTmdat',
    matroska=b'\x1a\x45\xdf\xa3',
    mpeg=b'\x00\x00\x01\xba',
    mpegvideo=b'\x00\x00\x01\xb3',
    flv=b'FLV\x01',
    ogg=b'OggS\x00',
    asf=CONTAINERS['asf'][0][0][1],
    ts=b''.join(b'G' + bytes(187) for _ in range(8)),
    lines_of_ts=''.join(f'G={"x" * 185}\n' for _ in range(8)).encode(),
)


@pytest.fixture
def elsewhere(videos):
    """A local video and an address; afterwards, nobody may have asked there."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield dict(other=str(videos / '0.mp4'), net=f'http://127.0.0.1:{server.getsockname()[1]}')
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def refuse(path):
    for reader, read in READERS.items():
        with pytest.raises(VideoError, match=path.name):
            read(path)
            pytest.fail(f'{reader} reads {path.name}')


class TestLeadingElsewhere:
    @pytest.mark.parametrize('kind', PLAYLISTS)
    def test_playlists_under_any_name(self, tmp_path, elsewhere, monkeypatch, kind):
        monkeypatch.chdir(tmp_path)
        for suffix in ('', '.m3u8', '.sdp', '.mpd', '.ffconcat', '.mp4', '.avi'):
            path = tmp_path / f'video{suffix}'
            path.write_text(PLAYLISTS[kind].format(**elsewhere))
            refuse(path)

    @pytest.mark.parametrize('magic', MAGICS)
    def test_playlists_that_begin_as_a_video(self, tmp_path, elsewhere, magic):
        for kind, playlist in PLAYLISTS.items():
            path = tmp_path / f'{kind}.m3u8'
            path.write_bytes(MAGICS[magic] + b'\n' + playlist.format(**elsewhere).encode())
            refuse(path)

    @pytest.mark.parametrize('kind', ['hls', 'ffconcat'])
    def test_playlists_as_subtitles_in_a_sound_avi(self, tmp_path, elsewhere, kind):
        """FFmpeg opens a GAB2 subtitle in an AVI file as a file of its own."""
        picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        jpeg = cv2.imencode('.jpg', picture)[1].tobytes()
        text = PLAYLISTS[kind].format(**elsewhere).encode()
        path = tmp_path / 'video.avi'
        path.write_bytes(avi(5 * [jpeg], (64, 48), gab2(text)))
        for read in READERS.values():
            read(path)  # it is a good video

    def test_data_in_another_file(self, videos, tmp_path, elsewhere):
        """A QuickTime file may say that its frames lie in another file, or at an address."""
        content = (videos / '1.mp4').read_bytes()
        start = content.index(b'dref') + 12  # the first entry, "url ", 12 bytes
        for target in (elsewhere['other'], f'{elsewhere["net"]}/a'):
            entry = b'url \0\0\0\0' + target.encode() + b'\0'
            grown = len(entry) + 4 - 12
            path = tmp_path / 'video.mp4'
            changed = bytearray(content)
            changed[start : start + 12] = struct.pack('>I', len(entry) + 4) + entry
            for box in (b'moov', b'trak', b'mdia', b'minf', b'dinf', b'dref'):
                at = content.rindex(box, 0, start) - 4
                changed[at : at + 4] = struct.pack(
                    '>I', struct.unpack_from('>I', content, at)[0] + grown
                )
            path.write_bytes(changed)
            for read in READERS.values():
                read(path)  # its own frames, and no others


def chunk(name, content):
    return name + struct.pack('<I', len(content)) + content + bytes(len(content) % 2)


def gab2(text):
    """A subtitle of an AVI file that holds a file of subtitles."""
    return b'GAB2\0' + struct.pack('<HIHI', 2, 0, 4, len(text)) + text


def avi(jpegs, size, subtitle=None):
    """An AVI file of JPEG pictures and, if given, one subtitle."""
    width, height = size

    def stream(kind, codec, scale, form):
        head = struct.pack('<4s4s8I', kind, codec, 0, 0, 0, 1, scale, 0, len(jpegs), 2**16)
        return chunk(b'LIST', b'strl' + chunk(b'strh', head + bytes(16)) + chunk(b'strf', form))

    form = struct.pack('<IiiHH4s5I', 40, width, height, 1, 24, b'MJPG', *[0] * 5)
    streams = [stream(b'vids', b'MJPG', 25, form)]
    movi = b''.join(chunk(b'00dc', jpeg) for jpeg in jpegs)
    if subtitle is not None:
        streams.append(stream(b'txts', bytes(4), 25, b''))
        movi = chunk(b'01tx', subtitle) + movi
    head = struct.pack('<14I', 40000, 0, 0, 0, len(jpegs), 0, len(streams), 2**16, *size, *[0] * 4)
    lists = chunk(b'LIST', b'hdrl' + chunk(b'avih', head) + b''.join(streams))
    return chunk(b'RIFF', b'AVI ' + lists + chunk(b'LIST', b'movi' + movi))
