"""Small copies of videos."""

import numpy as np
import pytest

from builders import decode, write_video

GRAYS = range(20, 240, 10)


@pytest.fixture
def large(tmp_path):
    """A folder of two classes, a clip of each 24 frames, which get lighter from left to right."""
    for name, size in (('go left/a (1).MOV', (96, 130)), ('wave/b.mp4', (128, 64))):
        path = tmp_path / 'large' / name
        path.parent.mkdir(parents=True)
        ramp = np.linspace(0, 15, size[1]).astype(np.uint8)[None, :, None]
        pictures = [np.full((*size, 3), gray, np.uint8) + ramp for gray in GRAYS]
        write_video(path, pictures, 'libx264', qp='1')
    return tmp_path / 'large'


def test_copies_have_the_same_frames(succeed, large, tmp_path):
    said = succeed('resize_videos.py', large, tmp_path / 'small', '--short-side', 48)
    assert f'2 videos in {tmp_path}' in said
    for name, own, height, width in (
        ('go left/a (1).MOV', 'go left/a (1).MOV.mp4', 48, 64),  # of 65, an even number
        ('wave/b.mp4', 'wave/b.mp4', 96, 48),
    ):
        frames = decode(tmp_path / 'small' / own, None)['imgs']
        before = decode(large / name, None)['imgs']
        assert len(frames) == len(before) == len(GRAYS)
        assert {frame.shape for frame in frames} == {(height, width, 3)}
        for frame, expected in zip(frames, before):
            assert abs(frame.mean() - expected.mean()) < 2
            assert frame[:, -5:].mean() - frame[:, :5].mean() > 8  # the right way round


def test_copies_that_are_there_stay_and_small_videos_keep_their_size(succeed, large, tmp_path):
    succeed('resize_videos.py', large, tmp_path / 'small')
    copy = tmp_path / 'small' / 'wave' / 'b.mp4'
    assert decode(copy)['imgs'][0].shape == (128, 64, 3)
    before = copy.stat().st_mtime_ns
    (tmp_path / 'small' / 'go left' / 'a (1).MOV.mp4').unlink()
    succeed('resize_videos.py', large, tmp_path / 'small')
    assert copy.stat().st_mtime_ns == before
    assert len([*(tmp_path / 'small').glob('*/*.mp4')]) == 2


def test_bad_input(fail, large, tmp_path):
    assert 'is in' in fail('resize_videos.py', large, large / 'small')
    assert 'no such folder' in fail('resize_videos.py', tmp_path / 'none', tmp_path / 'small')
    (large / 'wave' / 'c.mp4').write_bytes((large / 'wave' / 'b.mp4').read_bytes()[:900])
    said = fail('resize_videos.py', large, tmp_path / 'small')
    assert '2 videos in' in said and '1 cannot be copied' in said and 'c.mp4' in said
    assert len([path for path in (tmp_path / 'small').rglob('*') if path.is_file()]) == 2
