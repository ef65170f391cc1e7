"""Files, folders, globs and lists of videos, and reading them."""

import os
import signal

import pytest
import torch

from pan_mm.inference.videos import find_videos, read_videos


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / 'deep' / 'er').mkdir(parents=True)
    for name in ('b.mp4', 'a.AVI', 'notes.txt', 'deep/er/c.webm', 'x[1].mp4', '@odd.mp4'):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_is_walked_in_order(folder):
    assert find_videos(['deep']) == ['deep/er/c.webm']
    found = [path[len(str(folder)) + 1 :] for path in find_videos([folder])]
    assert found == ['@odd.mp4', 'a.AVI', 'b.mp4', 'deep/er/c.webm', 'x[1].mp4']


def test_glob(folder):
    assert find_videos(['**/*.webm', '?.mp4']) == ['deep/er/c.webm', 'b.mp4']


def test_existing_file_is_no_pattern_and_no_list(folder):
    assert find_videos(['x[1].mp4', '@odd.mp4']) == ['x[1].mp4', '@odd.mp4']


def test_list_holds_anything_each_once(folder):
    (folder / 'list').write_text('b.mp4\n\n deep \nb.mp4\n@list\n')
    assert find_videos(['@list', 'b.mp4']) == ['b.mp4', 'deep/er/c.webm', '@list']


@pytest.mark.parametrize(
    ('item', 'error'),
    [
        ('empty', ValueError),
        ('*.mkv', ValueError),
        ('@nowhere', FileNotFoundError),
        ('@blank', ValueError),
    ],
)
def test_nothing_meant(folder, item, error):
    (folder / 'empty').mkdir()
    (folder / 'blank').write_text('\n')
    with pytest.raises(error, match=item[1:]):
        find_videos([item])


def test_a_password_does_not_come_to_stand_in_results(folder):
    (folder / 'list').write_text('http://me:secret@host/a.mp4\n')
    with pytest.raises(ValueError, match='http://me:[*]{3}@host/a.mp4: name videos without'):
        find_videos(['@list'])


def pipeline(results):
    name = results['filename']
    if 'crash' in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if 'bad' in name:
        raise ValueError(f'{name}: damaged')
    return torch.full((3, 500_000), float(len(name)))


def test_a_decoder_that_crashes_costs_its_video_only():
    videos = ['a', 'crash 1', 'b', 'bad', 'crash 2', *map(str, range(9))]
    read = {video: (data, error) for video, data, error in read_videos(videos, pipeline, 2)}
    assert list(read) == videos
    assert read['bad'] == (None, 'damaged')
    for video in ('crash 1', 'crash 2'):
        assert read[video][0] is None and 'its decoder crashed' in read[video][1]
    for video in ('a', 'b', *map(str, range(9))):
        assert (read[video][0] == len(video)).all() and read[video][1] is None


def test_reading_in_this_process():
    (_, data, error), bad = read_videos(['a', 'bad'], pipeline)
    assert (data == 1).all() and error is None
    assert bad == ('bad', None, 'damaged')
