"""Folders of frames, opened where a video is expected."""

import os

import cv2
import numpy as np
import pytest

from pan_mm.apis import PANInferencer
from pan_mm.datasets.frame_folder import FrameFolder
from pan_mm.inference.videos import find_videos
from pan_mm.utils.errors import DataError, VideoError


@pytest.fixture
def folder(tmp_path):
    """Frame i is gray, 10 + 4 i, and red in a corner."""
    (tmp_path / 'clip').mkdir()
    for i in range(40):
        frame = np.full((24, 32, 3), 10 + 4 * i, np.uint8)
        frame[:4, :4] = 0, 0, 200  # BGR
        cv2.imwrite(str(tmp_path / f'clip/img_{i + 1:05}.png'), frame)
    return tmp_path / 'clip'


def test_frames(folder):
    frames = FrameFolder(folder)
    assert len(frames) == 40
    for index, frame in zip((3, 0, 39, 3), frames.get([3, 0, 39, 3])):
        assert frame.shape == (24, 32, 3) and frame.dtype == np.uint8
        assert frame[10, 10].tolist() == [10 + 4 * index] * 3
        assert frame[0, 0].tolist() == [200, 0, 0]


def test_predict(folder, config, checkpoint):
    assert find_videos([folder.parent]) == [str(folder)]
    (result,) = PANInferencer(config, checkpoint, 'cpu')(str(folder))
    assert result['video'] == str(folder) and result['top'][0]['score'] > 0


def test_what_cannot_be_read(folder):
    (folder / 'img_00003.png').write_bytes(b'no picture')
    os.remove(folder / 'img_00004.png')
    os.symlink('/dev/zero', folder / 'img_00004.png')
    frames = FrameFolder(folder)
    with pytest.raises(VideoError, match=r'img_00003\.png: is not a picture'):
        frames.get([2])
    with pytest.raises(VideoError, match=r'img_00004\.png: is not a picture of at most'):
        frames.get([3])
    os.remove(folder / 'img_00002.png')
    with pytest.raises(DataError, match='39 frames are numbered 1 to 40'):
        FrameFolder(folder)
