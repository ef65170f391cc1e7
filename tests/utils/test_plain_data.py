"""Pickles are read as data, or not at all."""

import io
import os
import pickle
import struct
import time
import zipfile

import mmengine
import pytest
import torch
from mmengine.fileio.handlers import file_handlers

from pan_mm.utils.errors import CheckpointError, DataError
from pan_mm.utils.plain_data import load_pickle, load_torch, plain_pickles


class RunsCode:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


def test_mmengine_reads_only_data_meanwhile(tmp_path):
    before = file_handlers.copy()
    path, evil, mark = tmp_path / 'a.pkl', tmp_path / 'evil.pkl', tmp_path / 'code-ran'
    data = [dict(pred_score=torch.rand(3), gt_label=torch.tensor([1]), name='é', n=None)]
    mmengine.dump(data, path)
    evil.write_bytes(pickle.dumps(RunsCode(mark), 2))
    with plain_pickles():
        (read,) = mmengine.load(path)
        assert torch.equal(read['pred_score'], data[0]['pred_score']) and read['name'] == 'é'
        with pytest.raises(
            DataError, match='a pickle was refused: it asks for .*system.* could run code'
        ):
            mmengine.load(evil)
        with pytest.raises(DataError):
            mmengine.load(evil, file_format='pickle')
    assert not mark.exists()
    assert file_handlers == before


def name_of(module, name):
    return f'c{module}\n{name}\n'.encode()


def text(value):
    return b'X' + struct.pack('<I', len(value.encode())) + value.encode()


def saved(body, name='data.pkl', weight=1.0):
    """Write what torch.save does, with opcodes of one's own."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr(f'archive/{name}', b'\x80\x02' + body + b'.')
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/byteorder', 'little')
        archive.writestr('archive/data/0', struct.pack('<f', weight))
    return file.getvalue()


def doubled(times):
    """A tuple of itself, twice, and so on."""
    return b')' + b'q\x09h\x09\x86' * times


def hex_of(times):
    encode = name_of('_codecs', 'encode')
    data = encode + text('a' * 1000) + text('latin1') + b'\x86R'
    return encode * times + data + (text('hex') + b'\x86R') * times


EMPTY_DICT = name_of('collections', 'OrderedDict') + b')R'
ENCODE = name_of('_codecs', 'encode')
TENSOR = name_of('torch', 'FloatTensor')
HUGE = pickle.dumps(2**30, 2)[2:-1]
OPCODES = {
    'tuples of the same': (b'}' + doubled(60) + b'Ns', 'nests tuples of more than 1,000 items'),
    'a set of them': (name_of('builtins', 'set') + b'](' + doubled(60) + b'e\x85R', 'nests tuples'),
    'a long key': (b'}(' + b'N' * 1001 + b'tNs', 'nests tuples'),
    'codecs': (hex_of(24), 'nests more than 6 calls'),
    'bytearray': (name_of('builtins', 'bytearray') + HUGE + b'\x85R', "asks for 'bytearray'"),
    'a tensor without data': (TENSOR + HUGE + b'\x85R', "asks for 'FloatTensor'"),
}


@pytest.mark.parametrize('opcodes', OPCODES)
@pytest.mark.parametrize('form', ['checkpoint', 'pickle'])
def test_opcodes_without_bounds(opcodes, form):
    body, message = OPCODES[opcodes]
    begin = time.process_time()
    if form == 'checkpoint':
        with pytest.raises(CheckpointError, match=f'^a was refused: .*{message}'):
            load_torch(io.BytesIO(saved(body)), 'a')
    else:
        with pytest.raises(DataError, match=f'^a was refused: .*{message}'):
            load_pickle(io.BytesIO(b'\x80\x02' + body + b'.'), 'a')
    assert time.process_time() - begin < 1


def test_every_pickle_of_a_zip_is_checked():
    body, message = OPCODES['bytearray']
    with pytest.raises(CheckpointError, match=message):
        load_torch(io.BytesIO(saved(body, 'DATA.PKL')), 'a')


def test_lists_in_lists():
    body = b']' * 10**5 + b'a' * (10**5 - 1)
    with pytest.raises(CheckpointError, match='^a is not a checkpoint, or is damaged: Recursion'):
        load_torch(io.BytesIO(saved(body)), 'a')


@pytest.mark.parametrize('is_zip', [True, False])
def test_what_training_saves_is_within_the_bounds(is_zip):
    names = tuple(f'class {i}' for i in range(3142))
    numbers = [i + 0.5 for i in range(100_000)]
    inner = dict(names=names, numbers=numbers, shapes=[(1, 2), (3, (4, 5))])
    # As bytes of a tensor, opcodes mean nothing.
    weight = torch.full((10**6,), 0x85, dtype=torch.uint8)
    file = io.BytesIO()
    torch.save(dict(meta=inner, w=weight), file, _use_new_zipfile_serialization=is_zip)
    begin = time.process_time()
    value = load_torch(file, 'a')
    assert time.process_time() - begin < 2
    assert value['meta'] == inner
    assert torch.equal(value['w'], weight)


def test_tensors_of_a_pickle_claim_no_more_than_the_file():
    file = io.BytesIO()
    torch.save(torch.zeros(50_000), file, _use_new_zipfile_serialization=False)
    data = ENCODE + text(file.getvalue().decode('latin1')) + text('latin1') + b'\x86R'
    tensor = name_of('torch.storage', '_load_from_bytes') + b'h\x01\x85R'
    begin = time.process_time()
    content = b'\x80\x02](' + data + b'q\x01' + tensor * 2000 + b'e.'
    with pytest.raises(DataError, match='its tensors claim more numbers than the file holds'):
        load_pickle(io.BytesIO(content), 'a')
    assert time.process_time() - begin < 1
    value = load_pickle(io.BytesIO(b'\x80\x02](' + data + b'q\x01' + tensor + b'e.'), 'a')
    assert torch.equal(value[1], torch.zeros(50_000))
