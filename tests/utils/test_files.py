import ast
import os
from pathlib import Path

import pytest

from pan_mm.utils.files import append_text, atomic_write, write_text

PACKAGE = Path(__file__).resolve().parents[2] / 'pan_mm'
# Functions that write into a fresh folder of their own, which none can foresee: it takes the place
# of the target, or goes, as a whole.
IN_A_FOLDER_OF_THEIR_OWN = (
    ('datasets/motion_shapes/render.py', 'write_video'),
    ('deploy/export/exporter.py', '_write_torch'),
    ('deploy/export/exporter.py', '_write_onnx'),
    ('deploy/export/quantization.py', 'quantize'),
    ('deploy/server/', ''),
    ('deploy/ray_storage.py', 'copy'),
)
WRITERS = {
    *('write_text', 'write_bytes', 'imwrite', 'savez', 'savez_compressed', 'savefig', 'save_file'),
    *('VideoWriter', 'save', 'savetxt', 'tofile', 'to_csv'),
}


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


def writes_of(path):
    """Calls of a module that write a file, as (function, line, source)."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and is_write(call):
                    yield function.name, call.lineno, ast.unparse(call)


def is_write(call):
    name = getattr(call.func, 'attr', getattr(call.func, 'id', None))
    modes = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    opens = name in ('open', 'fdopen') and any(
        isinstance(mode, str) and set(mode) <= set('rwaxbt+') and set(mode) & set('wax+')
        for mode in modes
    )
    # Ours, and that of safetensors, which gives bytes.
    bare = isinstance(call.func, ast.Name) and name in ('write_text', 'save')
    return opens or (name in WRITERS and not bare)


def test_all_that_is_written_goes_through_this_module():
    """What a writer writes is the ``part`` of atomic_write, or a ``file`` in memory."""
    found = [
        f'{name}:{line}: {source}'
        for path in PACKAGE.rglob('*.py')
        for name in [path.relative_to(PACKAGE).as_posix()]
        if name != 'utils/files.py'
        for function, line, source in writes_of(path)
        if not {'part', 'file'} & {n.id for n in ast.walk(ast.parse(source)) if hasattr(n, 'id')}
        and not any(name.startswith(f) and w in function for f, w in IN_A_FOLDER_OF_THEIR_OWN)
    ]
    assert found == []
    assert is_write(ast.parse("open('x.txt', 'w')").body[0].value)
    assert not is_write(ast.parse("open('x.txt', 'rb')").body[0].value)
