import os
from pathlib import Path

import pytest

from pan_mm.utils.files import append_text, atomic_write, write_text


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


def test_modes_stay(tmp_path):
    path = tmp_path / 'out.csv'
    write_text(path, 'old')
    path.chmod(0o640)
    write_text(path, 'né')
    assert path.read_text(encoding='utf-8') == 'né' and path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
def test_errors_name_the_file_that_is_meant(tmp_path):
    with pytest.raises(OSError, match='No space left.*out.csv'), atomic_write(tmp_path / 'out.csv'):
        Path('/dev/full').write_text('x')
    (tmp_path / 'log').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left.*log'), append_text(tmp_path / 'log') as file:
        file.write('x')
        file.flush()
    assert [path.name for path in tmp_path.iterdir()] == ['log']
