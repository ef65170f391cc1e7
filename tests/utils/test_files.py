import os
from pathlib import Path

import pytest

from pan_mm.utils.files import atomic_write, remove_stale


def test_replaces_when_done(tmp_path):
    path = tmp_path / 'out.pkl'
    path.write_text('old')
    with atomic_write(path) as part:
        with open(part, 'w') as file:
            file.write('new')
        assert part.endswith('.pkl')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert path.stat().st_mode & 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_leaves_nothing_when_it_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / 'out.pkl'):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_leads_to_what_is_written(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    with atomic_write(tmp_path / 'link') as part:
        Path(part).write_text('new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'target').read_text() == 'new'


def test_a_pipe_is_written_as_it_is(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(path) as part:
        Path(part).write_text('new')
    assert os.read(reader, 9) == b'new' and path.is_fifo()
    os.close(reader)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match='is a folder'), atomic_write(tmp_path):
        pass


def test_a_part_is_stale_once_its_writer_is_gone(tmp_path):
    with atomic_write(tmp_path / 'a.pth') as part:
        remove_stale(part)
        Path(part).write_text('whole')
    assert (tmp_path / 'a.pth').read_text() == 'whole'
    left = tmp_path / '.b.pth.x.pth'
    left.write_text('half')
    (tmp_path / 'link').symlink_to(tmp_path / 'a.pth')
    for path in (left, tmp_path / 'link', tmp_path / 'gone'):
        remove_stale(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.pth', 'link']
