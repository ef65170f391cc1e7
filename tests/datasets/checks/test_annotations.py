import os
import re

import pytest

from pan_mm.datasets import check_annotations
from pan_mm.datasets.checks.dataset import check_list
from pan_mm.utils.errors import DataError


@pytest.fixture
def check(tmp_path, videos):
    def run(text, data_prefix=str(videos), **kwargs):
        ann_file = tmp_path / 'list.txt'
        ann_file.write_text(text)
        kwargs.setdefault('num_classes', 3)
        return check_annotations(str(ann_file), data_prefix, **kwargs)

    return run


def test_sound_file(check):
    assert check('0.mp4 0\n1.mp4 2\n') == []


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('1.mp4 3', r'list.txt:2: label 3 is outside 0 … 2'),
        ('1.mp4 -1', r'list.txt:2: label -1 is outside'),
        ('1.mp4 one', r'list.txt:2: expected "video label" with whole numbers'),
        ('my video.mp4 1', r'list.txt:2: has 3 fields'),
        ('', r'list.txt:2: empty line'),
        ('1.mp4', r'list.txt:2: has no label, expected "video label"'),
        ('9.mp4 1', r'9.mp4: no such video'),
    ],
)
def test_faults_name_file_and_line(check, line, message):
    (problem,) = check(f'0.mp4 0\n{line}\n2.mp4 1')
    assert re.search(message, problem)


def test_empty_video(check, tmp_path):
    (tmp_path / 'hollow.mp4').touch()
    (problem,) = check(f'{tmp_path}/hollow.mp4 0', data_prefix='')
    assert problem.endswith('hollow.mp4: empty file')


@pytest.mark.parametrize(('text', 'message'), [('', 'empty'), (None, 'no such annotation file')])
def test_annotation_file_itself(tmp_path, text, message):
    path = tmp_path / 'list.txt'
    if text is not None:
        path.write_text(text)
    (problem,) = check_annotations(str(path))
    assert message in problem


def test_binary_file(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'\xff\xfe\x00\xd8')
    with pytest.raises(DataError, match='list.txt: not a text file in UTF-8'):
        check_annotations(str(tmp_path / 'list.txt'))


def test_a_list_as_some_editors_save_it(tmp_path):
    (tmp_path / 'list.txt').write_text('0.mp4 0\n', encoding='utf-8-sig')
    (problem,) = check_annotations(str(tmp_path / 'list.txt'))
    assert 'byte-order mark' in problem


def test_a_list_to_dump_scores_of_needs_no_labels(check):
    assert check('0.mp4\n1.mp4\n', labeled=False) == []


class TestDataRoot:
    """A list names files below the folder that it belongs to, unless it has none."""

    @pytest.mark.parametrize(
        'path', ['../{name}', 'x/../../{name}', '{folder}/{name}', '/etc/hosts']
    )
    def test_a_path_out_of_it_is_refused(self, check, tmp_path, path):
        (tmp_path / 'outside.mp4').write_bytes(b'secret')
        (tmp_path / 'root').mkdir()
        path = path.format(folder=tmp_path, name='outside.mp4')
        (problem,) = check(f'{path} 0', data_prefix=str(tmp_path / 'root'))
        assert f'lies outside the data root {tmp_path}/root' in problem
        (problem,) = check(f'{path} 9 0', data_prefix=str(tmp_path / 'root'), rawframes=True)
        assert 'lies outside' in problem

    def test_a_folder_that_looks_like_an_address(self, check, tmp_path):
        (tmp_path / 'root' / 'x:').mkdir(parents=True)
        (tmp_path / 'outside.avi').write_bytes(b'secret')
        assert (tmp_path / 'root' / 'x://../../outside.avi').is_file()
        (problem,) = check('x://../../outside.avi 0', data_prefix=str(tmp_path / 'root'))
        assert 'lies outside the data root' in problem
        assert check('a.mp4 0', data_prefix='s3://bucket') == []

    def test_a_pipe_is_not_a_video(self, check, tmp_path):
        os.mkfifo(tmp_path / 'pipe.mp4')
        (problem,) = check('pipe.mp4 0', data_prefix=str(tmp_path))
        assert 'pipe.mp4: not a regular file' in problem

    @pytest.mark.parametrize('path', ['{folder}/2.mp4', '../{name}/2.mp4', 'a..b/../2.mp4'])
    def test_a_path_that_stays_in_it(self, check, videos, path):
        path = path.format(folder=videos, name=videos.name)
        assert all('outside' not in problem for problem in check(f'{path} 0'))
        assert 'a..b' in path or check(f'{path} 0') == []

    def test_a_link_in_it_is_the_owners_will(self, check, videos, tmp_path):
        (tmp_path / 'root').mkdir()
        (tmp_path / 'root' / 'linked').symlink_to(videos)
        assert check('linked/1.mp4 0', data_prefix=str(tmp_path / 'root')) == []

    def test_without_a_root_any_path_is_asked_for(self, check, videos, monkeypatch):
        assert check(f'{videos}/1.mp4 0', data_prefix='') == []
        (videos / 'sub').mkdir(exist_ok=True)
        monkeypatch.chdir(videos / 'sub')
        assert check('../1.mp4 0', data_prefix='') == []


class TestRawframes:
    def test_sound(self, check, tmp_path):
        (tmp_path / 'frames').mkdir()
        assert check('frames 12 1', str(tmp_path), rawframes=True) == []
        assert check('frames 3 12 1', str(tmp_path), rawframes=True, with_offset=True) == []

    def test_missing_frames(self, check, tmp_path):
        (tmp_path / 'frames').mkdir()
        for index in (*range(4, 9), *range(10, 16)):
            (tmp_path / 'frames' / f'{index:03}.jpg').touch()
        options = dict(rawframes=True, frame_names=('{:03}.jpg', 4))
        assert check('frames 5 1', str(tmp_path), **options) == []
        assert check('frames 6 6 1', str(tmp_path), with_offset=True, **options) == []
        for line, number, lost in (('frames 12 1', 1, '009'), ('frames 3 10 1', 2, '009')):
            with_offset = len(line.split()) == 4
            (problem,) = check(line, str(tmp_path), with_offset=with_offset, **options)
            assert f'{number} of 1' in problem and f'missing, such as {lost}.jpg' in problem
        (problem,) = check('frames 9 1', str(tmp_path), rawframes=True, frame_names=('{}.jpg', 1))
        assert '9 of 9 frames are missing, such as 1.jpg (it holds 11 files)' in problem

    @pytest.mark.parametrize(
        ('line', 'message'),
        [
            ('nowhere 12 1', 'no such folder'),
            ('nowhere 0 1', 'at least one frame'),
            ('nowhere', 'expected "folder num_frames label"'),
            ('nowhere 12 1 2', 'has 4 fields'),
            ('no where 12 1', 'splits at any white space'),
        ],
    )
    def test_faults(self, check, line, message):
        (problem,) = check(line, rawframes=True)
        assert message in problem


def test_several_labels(check):
    assert check('0.mp4 0 2', multi_class=True) == []
    (problem,) = check('0.mp4 0 7', multi_class=True)
    assert 'label 7' in problem


def test_another_delimiter(check, tmp_path):
    assert check('0.mp4,1', delimiter=',') == []
    (tmp_path / 'a (b).mp4').write_bytes(b'video')
    assert check('a (b).mp4\t1', str(tmp_path), delimiter='\t') == []
    (problem,) = check('a (b).mp4 1', str(tmp_path))
    assert 'has 3 fields' in problem and 'needs another one' in problem


@pytest.mark.parametrize('name', ['ann_file', 'delimiter'])
def test_a_list_where_a_text_is_due(name):
    (problem,) = check_list({'type': 'VideoDataset', 'ann_file': 'a.txt', name: ['', '']})
    assert problem.startswith(f"{name}=['', ''] must be a text; on a command line a comma")
