"""Files of torch.export that run code when PyTorch loads or calls them: refused here."""

import io
import json
import os
import sys
import zipfile

import pytest
import torch

from pan_mm.inference.exported_program import check_program
from pan_mm.inference.runtime import ExportedModel
from pan_mm.utils.errors import CheckpointError


class Scaled(torch.nn.Module):
    """A graph of a free size, a weight and a buffer."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.register_buffer('mean', torch.ones(1))

    def forward(self, frames):
        frames = (frames.float() - self.mean) * self.weight
        return frames.reshape(frames.shape[0] // 1, -1).repeat(2, 1)


@pytest.fixture(scope='module')
def program():
    """A file as the exporter writes it, as bytes."""
    buffer = io.BytesIO()
    shapes = ({0: torch.export.Dim('batch')},)
    frames = torch.ones(2, 3, dtype=torch.uint8)
    exported = torch.export.export(Scaled(), (frames,), dynamic_shapes=shapes)
    metadata = dict(classes=['a'], average_clips='prob', frames=[3], dtype='uint8')
    extra = dict(pan_mm=json.dumps(dict(pan_mm=metadata)))
    torch.export.save(exported, buffer, extra_files=extra)
    return buffer.getvalue()


@pytest.fixture
def remake(program, tmp_path):
    """Writes the file anew, with an entry changed or added."""

    def remake(end, change):
        path = tmp_path / 'evil.pt2'
        with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(path, 'w') as target:
            names = source.namelist()
            for name in names:
                content = source.read(name)
                target.writestr(name, change(content) if name.endswith(end) else content)
            if not any(name.endswith(end) for name in names):
                target.writestr(f'archive/{end}', change(b''))
        return path

    return remake


def graph(change):
    def changed(content):
        graph = json.loads(content)
        change(graph)
        return json.dumps(graph).encode()

    return changed


def sizes(graph):
    """The first expression of a size in it."""
    tensors = graph['graph_module']['graph']['tensor_values'].values()
    return next(s['as_expr'] for t in tensors for s in t['sizes'] if 'as_expr' in s)


def signature(graph):
    return graph['graph_module']['module_call_graph'][0]['signature']


CODE = "__import__('os').system('touch {mark}')"


class Pickled:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


def pickled(mark):
    buffer = io.BytesIO()
    torch.save(Pickled(mark), buffer)
    return buffer.getvalue()


def spec_of_an_enumeration(mark):
    """Loading it imports a module, here one that nothing else imports."""
    return json.dumps(json.dumps({'__enum__': True, 'fqn': 'this:x', 'name': 'x'}))


RUN_UPSTREAM = {
    'pickle': ('sample_inputs/model.pt', lambda mark: lambda _: pickled(mark)),
    'size': (
        'models/model.json',
        lambda mark: graph(lambda g: sizes(g).update(expr_str=CODE.format(mark=mark))),
    ),
    'guard': (
        'models/model.json',
        lambda mark: graph(lambda g: g.update(guards_code=[CODE.format(mark=mark) + ' == 0'])),
    ),
}


@pytest.mark.parametrize('kind', RUN_UPSTREAM)
def test_code(remake, program, tmp_path, kind):
    entry, change = RUN_UPSTREAM[kind]
    mark = tmp_path / 'code-ran'
    path = remake(entry, change(mark))
    with pytest.raises(CheckpointError, match=r'evil\.pt2.* was refused'):
        ExportedModel(path)
    assert not mark.exists()
    try:  # PyTorch itself
        torch.export.load(path).module()(torch.ones(2, 3, dtype=torch.uint8))
    except Exception as error:
        print(error)
    knows_guards = b'"guards_code"' in program  # PyTorch 2.8 does not
    assert mark.exists() == (kind != 'guard' or knows_guards)


def test_an_enumeration_imports_no_module(remake):
    def change(g):
        spec = signature(g)['in_spec']
        signature(g)['in_spec'] = spec.replace('"null"', spec_of_an_enumeration(None), 1)

    before = 'this' in sys.modules
    with pytest.raises(CheckpointError, match='__enum__'):
        ExportedModel(remake('models/model.json', graph(change)))
    assert ('this' in sys.modules) == before


@pytest.mark.parametrize(
    'target',
    [
        'torch.os.system',
        'torch.ops.load_library',
        'torch.ops.aten.from_file.default',
        'torch.ops.aten.__init__.__globals__',
        'torch.ops.higher_order.cond',
        '_operator.methodcaller',
        'math.sin',
    ],
)
def test_operators_that_are_not_of_tensors(remake, target):
    change = graph(lambda g: g['graph_module']['graph']['nodes'][1].update(target=target))
    with pytest.raises(CheckpointError, match=f'{target}.*target.*could run code'):
        ExportedModel(remake('models/model.json', change))


@pytest.mark.parametrize('expression', ["Symbol('x.y')", '9**9**9', 'Pow(9, 9)', 's0.name', 'eval'])
def test_expressions(remake, expression):
    change = graph(lambda g: sizes(g).update(expr_str=expression))
    with pytest.raises(CheckpointError, match='expr_str'):
        ExportedModel(remake('models/model.json', change))


@pytest.mark.parametrize(
    'entry',
    [
        'data/constants/custom_obj_0',
        'data/aotinductor/model/a.so',
        'code/a.py',
        'serialized_constants.pt',
    ],
)
def test_entries_of_another_kind(remake, entry):
    with pytest.raises(CheckpointError, match=f'was refused: it holds .*{entry}'):
        ExportedModel(remake(entry, lambda _: b'x'))


@pytest.mark.parametrize('pickle_of', ['weights', 'constants'])
def test_pickled_weights(remake, program, tmp_path, pickle_of):
    """The list of the weights may call any entry a pickle."""
    entry = f'data/{pickle_of}/model_{pickle_of}_config.json'
    mark = tmp_path / 'code-ran'
    config = dict(config=dict(x=dict(path_name='weight_9', use_pickle=True)))
    path = remake(entry, lambda _: json.dumps(config).encode())
    with zipfile.ZipFile(path, 'a') as archive:
        folder = archive.namelist()[0].split('/')[0]
        archive.writestr(f'{folder}/data/{pickle_of}/weight_9', pickled(mark))
    with pytest.raises(CheckpointError, match='weight_9 was refused.*system'):
        ExportedModel(path)
    assert not mark.exists()


@pytest.mark.parametrize('pickle_of', ['weights', 'constants'])
def test_pickled_weights_of_older_files(remake, tmp_path, pickle_of):
    """PyTorch 2.8 writes one pickle of all of them; later ones still load it."""
    mark = tmp_path / 'code-ran'
    path = remake(f'data/{pickle_of}/model.pt', lambda _: pickled(mark))
    with pytest.raises(CheckpointError, match=r'model\.pt was refused.*system'):
        ExportedModel(path)
    assert not mark.exists()


def test_an_entry_that_is_there_twice(program, tmp_path):
    """PyTorch might load another of the two than the one that was looked at."""
    path = tmp_path / 'evil.pt2'
    with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(path, 'w') as target:
        for name in source.namelist():
            if name.endswith('sample_inputs/model.pt'):
                target.writestr(name, pickled(tmp_path / 'code-ran'))
            target.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match=r'evil\.pt2 was refused: it has two entries of one'):
        ExportedModel(path)


def test_compiled_code_needs_to_be_allowed(tmp_path):
    path = tmp_path / 'a.aoti.pt2'
    path.write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'a\.aoti\.pt2 was refused.*--allow-native-code'):
        ExportedModel(path)
    with pytest.raises(CheckpointError, match='or is damaged'):
        ExportedModel(path, allow_native_code=True)


def test_truncated_anywhere(program):
    for size in range(0, len(program), len(program) // 60):
        with pytest.raises(CheckpointError, match='a.pt2'):
            check_program(program[:size], 'a.pt2')


def test_what_the_exporter_writes(program, tmp_path):
    (tmp_path / 'a.pt2').write_bytes(program)
    model = ExportedModel(tmp_path / 'a.pt2')
    frames = torch.arange(15, dtype=torch.uint8).reshape(5, 3)
    torch.testing.assert_close(model.logits(frames), (frames.float() - 1).repeat(2, 1))
