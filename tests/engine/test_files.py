import pytest

from pan_mm.engine.files import written_whole


def test_replaces_when_done(tmp_path):
    path = tmp_path / 'out.pkl'
    path.write_text('old')
    with written_whole(path) as part:
        with open(part, 'w') as file:
            file.write('new')
        assert part.endswith('.pkl')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert path.stat().st_mode & 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_leaves_nothing_when_it_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / 'out.pkl'):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match='is a folder'), written_whole(tmp_path):
        pass
