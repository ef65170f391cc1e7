"""Files that are not what they pretend to be, at the one door for videos."""

import os

import pytest

from pan_mm.datasets.decoding.door import Limits, VideoTooLargeError, admit, count_frames
from pan_mm.utils.errors import VideoError


def test_real_clips_come_in_by_what_they_hold(clips_dir):
    for path in sorted((clips_dir / 'labelled').iterdir()):
        with admit(path) as video, video.open() as container:
            assert video.demuxer in container.format.name.split(',')
            assert len(list(video.packets(container))) > 20


def test_frames_are_counted(videos):
    for index in range(4):
        with admit(videos / f'{index}.mp4') as video:
            assert count_frames(video) == 12 + 8 * index


@pytest.mark.parametrize(
    ('limits', 'found'),
    [
        (Limits(max_bytes=100), 'bytes, and at most 100 are allowed'),
        (Limits(max_pixels=11 * 256 * 256), 'raise max_pixels'),
        (Limits(max_frame_pixels=48 * 64 - 1), 'larger than 3,071 pixels'),
    ],
)
def test_too_large(videos, limits, found):
    def count():
        with admit(videos / '0.mp4', limits) as video:
            count_frames(video)

    with pytest.raises(VideoTooLargeError, match=f'0.mp4: .*{found}'):
        count()


def test_what_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'zero.mp4').symlink_to('/dev/zero')
    (tmp_path / 'folder.mp4').mkdir()
    for name, what in (('pipe', 'pipe'), ('zero', 'device'), ('folder', 'folder')):
        with pytest.raises(VideoError, match=f'{name}.mp4: is a {what}, not a regular file'):
            admit(tmp_path / f'{name}.mp4')
