"""Pickles are read as data, or not at all."""

import io
import os
import pickle
import struct

import mmengine
import pytest
import torch
from mmengine.fileio.handlers import file_handlers

from pan_mm.utils.errors import DataError
from pan_mm.utils.plain_data import load_pickle, plain_pickles


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


def test_small_files_take_little_memory(tmp_path):
    path = tmp_path / 'a.pkl'
    for opcode in (pickle.BYTEARRAY8, pickle.BINBYTES8, pickle.BINUNICODE8):
        path.write_bytes(opcode + struct.pack('<Q', 2**42) + b'.')
        with path.open('rb') as file, pytest.raises(DataError, match='is not plain data'):
            load_pickle(file, 'a.pkl')


def test_another_protocol_is_named(tmp_path):
    with pytest.raises(DataError, match='a.pkl is not plain data in a pickle of protocol 2'):
        load_pickle(io.BytesIO(pickle.dumps([1], 4)), 'a.pkl')
