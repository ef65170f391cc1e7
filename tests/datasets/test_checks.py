"""Problems of annotation lists, and of what they name."""

import os
import re

import pytest

from pan_mm.datasets.checks import AnnotationList, check_list
from pan_mm.utils.errors import DataError


@pytest.fixture
def check(tmp_path, videos):
    """Problems of a list with this text; without the name of the list."""

    def run(text, folder=videos, num_classes=3, labeled=True, **settings):
        (tmp_path / 'list.txt').write_text(text)
        settings = dict(dict(type='VideoDataset', data_prefix=dict(video=str(folder))), **settings)
        if settings['type'] == 'RawframeDataset':
            settings['data_prefix'] = dict(img=str(folder))
        problems = check_list(
            dict(settings, ann_file=str(tmp_path / 'list.txt')), num_classes, labeled
        )
        return [problem.removeprefix(f'{tmp_path}/') for problem in problems]

    return run


def test_sound_lists(check):
    assert check('0.mp4 0\n1.mp4 2\n') == []
    assert check('0.mp4\n1.mp4\n', labeled=False) == []
    assert check('0.mp4,1', delimiter=',') == []
    assert check('0.mp4 0 2', multi_class=True) == []
    assert check('a.mp4 0', 's3://bucket') == []


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('1.mp4 3', r'list.txt:2: label 3 is outside 0 … 2 \(num_classes=3\)'),
        ('1.mp4 -1', r'list.txt:2: label -1 is outside'),
        ('1.mp4 one', r'list.txt:2: expected "video label", got "1.mp4 one"'),
        ('my video.mp4 1', r'list.txt:2: expected .*choose another delimiter'),
        ('1.mp4 1 2', r'list.txt:2: expected "video label"'),
        ('1.mp4', r'list.txt:2: expected "video label"'),
        ('', r'list.txt:2: empty line'),
        ('9.mp4 1', r'9.mp4: no such video'),
    ],
)
def test_faults_name_file_and_line(check, line, message):
    (problem,) = check(f'0.mp4 0\n{line}\n2.mp4 1')
    assert re.search(message, problem)


def test_files_that_are_no_videos(check, tmp_path):
    (tmp_path / 'hollow.mp4').touch()
    os.mkfifo(tmp_path / 'pipe.mp4')
    hollow, pipe = check('hollow.mp4 0\npipe.mp4 0', tmp_path)
    assert 'hollow.mp4: empty file' in hollow and 'pipe.mp4: not a regular file' in pipe


def test_the_list_itself(check, tmp_path):
    assert check('') == ['list.txt: empty, it needs a line for each video']
    (problem,) = check('\ufeff0.mp4 0\n')
    assert 'byte-order mark' in problem
    settings = dict(type='VideoDataset', ann_file='list.txt', data_root=str(tmp_path))
    (tmp_path / 'list.txt').write_bytes(b'\xff\xfe\x00\xd8')
    with pytest.raises(DataError, match='list.txt: not a text file in UTF-8'):
        AnnotationList(settings).problems()
    os.remove(tmp_path / 'list.txt')
    assert 'no such annotation file' in check_list(settings)[0]


class TestFrames:
    @pytest.fixture
    def frames(self, check, tmp_path):
        """A folder of frames 004 to 015, without 009; checks a list of it."""
        (tmp_path / 'frames').mkdir()
        for index in (*range(4, 9), *range(10, 16)):
            (tmp_path / 'frames' / f'{index:03}.jpg').touch()
        names = dict(filename_tmpl='{:03}.jpg', start_index=4)
        return lambda line, **settings: check(
            line, tmp_path, type='RawframeDataset', **{**names, **settings}
        )

    def test_missing_frames(self, frames):
        assert frames('frames 5 1') == []
        assert frames('frames 6 6 1', with_offset=True) == []
        for line, number, with_offset in (('frames 12 1', 1, False), ('frames 3 10 1', 2, True)):
            (problem,) = frames(line, with_offset=with_offset)
            assert f'{number} of 1' in problem and 'missing, such as 009.jpg' in problem
        (problem,) = frames('frames 9 1', filename_tmpl='{}.png', start_index=1)
        assert '9 of 9 frames are missing, such as 1.png (it holds 11 files)' in problem

    @pytest.mark.parametrize(
        ('line', 'message'),
        [
            ('nowhere 12 1', 'no such folder'),
            ('nowhere 0 1', 'expected "folder num_frames label"'),
            ('nowhere 12', 'expected "folder num_frames label"'),
            ('no where 12 1', 'rename it'),
        ],
    )
    def test_faults(self, frames, line, message):
        (problem,) = frames(line)
        assert message in problem


@pytest.mark.parametrize('name', ['ann_file', 'delimiter'])
def test_a_list_where_a_text_is_due(name):
    (problem,) = check_list({'type': 'VideoDataset', 'ann_file': 'a.txt', name: ['', '']})
    assert problem.startswith(f"{name}=['', ''] must be a text; on a command line a comma")
