"""Pickles as data: tensors, containers, numbers and text; nothing in them runs."""

import collections
import io
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch
from mmengine.fileio import PickleHandler
from mmengine.fileio.handlers import file_handlers

from .checkpoint import load_data
from .errors import DataError


class _DataUnpickler(pickle._Unpickler):
    """Reads plain data; anything else could run code.

    The unpickler in C takes as much memory as a number in the file asks for.
    """

    dispatch = dict(pickle._Unpickler.dispatch)
    del dispatch[pickle.BUILD[0]]  # sets the state of any object, even of the functions below
    del dispatch[pickle.BYTEARRAY8[0]]  # makes one of any size

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
            ('torch.storage', '_load_from_bytes'): _load_from_bytes,
            ('collections', 'OrderedDict'): collections.OrderedDict,
            ('_codecs', 'encode'): _encode,
            ('__builtin__', 'bytes'): lambda: b'',
        }
        if (module, name) not in allowed:
            raise DataError(f'it asks for {module}.{name}, which could run code')
        return allowed[module, name]


def _encode(text, encoding):
    # How MMEngine's pickles (protocol 2) store bytes.
    if encoding != 'latin1':
        raise DataError(f'it encodes text as {encoding!r}')
    return text.encode('latin1')


def _load_from_bytes(data):
    # PyTorch's own function would unpickle whatever the bytes contain.
    return load_data(io.BytesIO(data), 'a tensor in it')


def _rebuild_tensor(storage, offset, size, stride, requires_grad, hooks):
    if math.prod(size) > storage._size():
        raise DataError(f'a tensor of the shape {size} claims more numbers than the file holds')
    return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)


class _PlainHandler(PickleHandler):
    """Reads what MMEngine's handler reads, if it is plain data."""

    def load_from_fileobj(self, file, **kwargs):
        return load_pickle(file, 'a pickle')


def load_pickle(file: BinaryIO, source: str) -> Any:
    """Read a pickle that holds plain data.

    Args:
        file (BinaryIO): The file.
        source (str): Its name, for the error.

    Raises:
        DataError: If it is damaged, or would run code.
    """
    try:
        return _DataUnpickler(io.BytesIO(file.read())).load()
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise DataError(f'{source} cannot be read as plain data: {error}') from error


@contextmanager
def plain_pickles() -> Iterator[None]:
    """Let ``mmengine.load`` read pickles only as plain data."""
    names = ('pickle', 'pkl')
    before = {name: file_handlers[name] for name in names}
    file_handlers.update(dict.fromkeys(names, _PlainHandler()))
    try:
        yield
    finally:
        file_handlers.update(before)
