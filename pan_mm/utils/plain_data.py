"""Read what ``torch.save`` and ``pickle`` wrote as data: no code in it runs, damage is found.

PyTorch's reader of plain data (``weights_only=True``) reads what MMEngine writes if a few more
names are allowed. Here these stand for functions and classes that take plain data and do nothing
else; NumPy's own would take memory without bounds.
"""

import io
import os
import pickle
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Optional

import numpy as np
import torch
from mmengine.fileio import PickleHandler
from mmengine.fileio.handlers import file_handlers
from mmengine.logging import HistoryBuffer
from torch import serialization

from .errors import CheckpointError, DataError
from .opcodes import Refused, check_pickles

_MORE = 'its tensors claim more numbers than the file holds'
# safe_globals changes one list for the whole process; a tensor in a pickle is read within.
_lock = threading.RLock()


class _Budget:
    """Bytes that may still be taken from a file."""

    def __init__(self, size: int) -> None:
        self.size = size

    def take(self, size: int) -> None:
        self.size -= size
        if self.size < 0:
            raise Refused(_MORE)


class _Dtype:
    """A NumPy dtype of numbers or texts, in its byte order; no structures, no objects."""

    def __init__(self, code, *_):
        if not isinstance(code, str) or re.fullmatch(r'[biufcSU]\d+', code) is None:
            raise Refused(f'it holds a NumPy dtype {code!r}, which is not plain data')
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(list):
    """A NumPy array, read as a flat list."""

    def __setstate__(self, state):
        _, _, dtype, _, data = state
        self[:] = np.frombuffer(data, dtype.dtype).tolist()

    def __reduce__(self):
        return np.array(list(self)).__reduce__()  # saved again, it is an array again


class _History(HistoryBuffer):
    """A HistoryBuffer, whose own ``__setstate__`` changes the class."""

    def __setstate__(self, state):
        lists = list(state['_log_history']), list(state['_count_history'])
        if not all(isinstance(value, (int, float)) for values in lists for value in values):
            raise Refused('its message hub holds other than numbers')
        super().__init__(*lists, int(state['max_length']))
        self.__class__ = HistoryBuffer


def _scalar(dtype, data):
    return np.frombuffer(data, dtype.dtype, count=1)[0]


def _empty_bytes():  # b'' in protocol 2
    return b''


_CHECKPOINT: list = [
    (dict, 'mmengine.config.config.ConfigDict'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (lambda *_: None, 'builtins.getattr'),  # of HistoryBuffer's methods, which a new one has
    (_empty_bytes, 'builtins.bytes'),
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    # NumPy 2 and NumPy 1 write different names for the same thing.
    *((lambda *_: _Array(), f'numpy.{core}.multiarray._reconstruct') for core in ('_core', 'core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('_core', 'core')),
]


def load_torch(file: BinaryIO, source: str) -> Any:
    """Load what ``torch.save`` wrote, only as data."""
    return _load(file, _CHECKPOINT, source, 'a checkpoint', CheckpointError)


def load_pickle(file: BinaryIO, source: str) -> Any:
    """Read a pickle of protocol 2, as MMEngine writes them, that holds plain data and tensors."""
    # As torch.save wrote files before 1.6: three pickles, the data, and the keys of storages.
    before = (serialization.MAGIC_NUMBER, serialization.PROTOCOL_VERSION, {})
    head, tail = b''.join(pickle.dumps(part, 2) for part in before), pickle.dumps([], 2)
    content = file.read()
    left = _Budget(len(content))

    def load_tensor(data):  # PyTorch's own would unpickle anything
        left.take(len(data))
        return load_torch(io.BytesIO(data), 'a tensor')

    allowed = [
        (_empty_bytes, 'builtins.bytes'),
        (load_tensor, 'torch.storage._load_from_bytes'),
    ]
    whole = io.BytesIO(head + content + tail)
    return _load(whole, allowed, source, 'plain data in a pickle of protocol 2', DataError)


class _PlainHandler(PickleHandler):
    def load_from_fileobj(self, file, **kwargs):
        return load_pickle(file, 'a pickle')


@contextmanager
def plain_pickles() -> Iterator[None]:
    """Let ``mmengine.load`` read pickles only as plain data."""
    before = {name: file_handlers[name] for name in ('pickle', 'pkl')}
    file_handlers.update(dict.fromkeys(before, _PlainHandler()))
    try:
        yield
    finally:
        file_handlers.update(before)


def _load(
    file: BinaryIO, allowed: list, source: str, what: str, error_type: type[Exception]
) -> Any:
    size = file.seek(0, os.SEEK_END)
    left = _Budget(size)

    def keep_on_cpu(storage, _):
        left.take(storage.nbytes())
        return storage

    try:
        for content in _pickles_of(file, size):
            check_pickles(content)
        file.seek(0)
        with _lock, serialization.safe_globals(allowed):
            value = torch.load(file, map_location=keep_on_cpu, weights_only=True)
        _check_tensors(value)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise error_type(f'{source} {_reason(error, what)}') from error
    return value


def _reason(error: Exception, what: str) -> str:
    """Complete 'FILE …' with what an error of the unpickler means."""
    if isinstance(error, (Refused, CheckpointError)):
        return f'was refused: {error}'
    if found := re.search(r'GLOBAL (.+?)(?: was not an allowed| whose module|$)', str(error), re.M):
        return (
            f'was refused: it asks for {found.group(1)!r}, which is not plain data and could run '
            'code. If you trust its author, have them save only tensors, numbers and texts.'
        )
    lines = [line for line in map(str.strip, str(error).splitlines()) if line]
    lines = [line for line in lines if 'https://' not in line] or ['']  # of PyTorch's manual
    return f'is not {what}, or is damaged: {type(error).__name__}: {lines[-1]}'


def _pickles_of(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the pickles of a checkpoint of either format, a zip once it is shown to be whole."""
    file.seek(0)
    if file.read(4) != b'PK\x03\x04':
        file.seek(0)
        yield file.read()
        return
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    if any(e.compress_type or e.compress_size != e.file_size for e in entries):
        raise Refused('its entries are compressed, which torch.save never does')
    # PyTorch reads the directory where the file says it is, zipfile at the end; and of two entries
    # of a name, in which PyTorch takes A for a, each may read another one.
    names = {entry.filename.lower() for entry in entries}
    begins = min((entry.header_offset for entry in entries), default=None) == 0
    if not begins or len(names) < len(entries) or sum(e.file_size for e in entries) > size:
        raise Refused('it does not begin with its zip, or entries overlap or have one name')
    if damaged := archive.testzip():
        raise zipfile.BadZipFile(f'the CRC of {damaged} differs')
    yield from (archive.read(name) for name in archive.namelist() if name.lower().endswith('.pkl'))


def _check_tensors(value: Any) -> None:
    """Refuse tensors that show the same numbers often, as with a stride of 0."""
    claimed, held = 0, {}
    for _, each in leaves(value):
        if torch.is_tensor(each) and each.layout == torch.strided and not each.is_meta:
            claimed += each.numel() * each.element_size()
            storage = each.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    if claimed > 2 * sum(held.values()) + 2**24:  # tied weights have two names
        raise Refused(_MORE)


def leaves(value: Any, name: str = '', seen: Optional[set] = None) -> Iterator[tuple]:
    """Yield (dotted name, value) of all that is in dicts, lists and tuples, each of them once."""
    if not isinstance(value, (dict, list, tuple)):
        yield name, value
        return
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(each, f'{name}.{key!s:.80}'.lstrip('.'), seen)
