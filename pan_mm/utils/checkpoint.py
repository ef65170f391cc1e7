"""Reads checkpoints without running code from them.

MMEngine's checkpoints hold more than tensors: a message hub of HistoryBuffers, NumPy
arrays and scalars. PyTorch's ``weights_only`` unpickler refuses them, and allowing the real
names would admit ``builtins.getattr`` and NumPy's constructors. Here those names stand for
plain records that hold data and do nothing; the real objects are made from the records
after the file has been read.
"""

import os
import pickle
import re
import threading
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from pan_mm.utils.errors import CheckpointError

__all__ = ['CheckpointError', 'load_checkpoint_file', 'load_checkpoint_url']

# safe_globals changes one list for the whole process.
_lock = threading.Lock()


class _Refused(Exception):
    """A record cannot stand for what the file holds; says why."""


class _Dtype:
    """Record of a NumPy dtype: numbers, booleans, text; no structures, no objects."""

    def __init__(self, code, align=False, copy=False):
        if not isinstance(code, str) or re.fullmatch(r'[biufcSU]\d+', code) is None:
            raise _Refused(f'it holds a NumPy dtype {code!r}, which is not plain data')
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        _, order, *structure = state
        if order not in ('<', '>', '|', '=') or any(part is not None for part in structure[:3]):
            raise _Refused('it holds a NumPy dtype that is not plain data')
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Record of a NumPy array."""

    def __setstate__(self, state):
        _, self.shape, dtype, self.fortran, self.data = state
        if type(dtype) is not _Dtype or type(self.data) is not bytes:
            raise _Refused('it holds a NumPy array of other than plain data')
        self.dtype = dtype.dtype

    def build(self):
        array = np.frombuffer(self.data, self.dtype)
        return array.reshape(self.shape, order='F' if self.fortran else 'C').copy(order='K')


class _History:
    """Record of an MMEngine HistoryBuffer."""

    def __setstate__(self, state):
        self.state = state

    def build(self):
        log, count = (self.state[key].build() for key in ('_log_history', '_count_history'))
        history = HistoryBuffer(max_length=int(self.state['max_length']))
        history._log_history, history._count_history = log, count
        return history


def _reconstruct(kind, shape, typecode):
    if kind is not _Array:
        raise _Refused(f'it holds an array of the type {kind!r}')
    return _Array()


def _scalar(dtype, data):
    if type(dtype) is not _Dtype or type(data) is not bytes:
        raise _Refused('it holds a NumPy scalar that is not plain data')
    return np.frombuffer(data, dtype.dtype, count=1)[0]


def _bytes():
    # How pickle's protocol 2 writes b''.
    return b''


def _getattr(owner, name):
    # How MMEngine pickles HistoryBuffer.min, .max, .mean, .current: by name alone.
    if owner is not _History or name.startswith('_') or not hasattr(HistoryBuffer, name):
        raise _Refused(f'it asks for the attribute {name!r} of {owner!r}, which could run code')
    return name


_SAFE = [
    (_bytes, 'builtins.bytes'),
    (_getattr, 'builtins.getattr'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (dict, 'mmengine.config.config.ConfigDict'),
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    # NumPy 2 and NumPy 1 write different names for the same thing.
    (_reconstruct, 'numpy._core.multiarray._reconstruct'),
    (_reconstruct, 'numpy.core.multiarray._reconstruct'),
    (_scalar, 'numpy._core.multiarray.scalar'),
    (_scalar, 'numpy.core.multiarray.scalar'),
]


def _built(value: Any, done: dict) -> Any:
    """Replace the records inside ``value`` by what they describe; ``done`` maps id to result."""
    kind = type(value)
    if kind not in (_Array, _History, _Dtype, dict, OrderedDict, list, tuple):
        return value
    if id(value) in done:
        return done[id(value)][1]
    result = value
    if kind in (_Array, _History):
        result = value.build()
    elif kind is _Dtype:
        result = value.dtype
    elif kind is tuple:
        result = tuple(_built(item, done) for item in value)
    # Kept beside its result, so that no other object gets its id meanwhile.
    done[id(value)] = value, result
    if kind is list:
        value[:] = [_built(item, done) for item in value]
    elif kind in (dict, OrderedDict):
        for key in value:
            value[key] = _built(value[key], done)
    return result


@contextmanager
def _guard(source: str):
    """Only data comes in; every failure names the file."""
    # Before, weights_only=True could be got round (CVE-2025-32434).
    if digit_version(torch.__version__) < digit_version('2.6'):
        raise CheckpointError(f'{source}: reading a checkpoint safely needs torch>=2.6')
    try:
        with _lock, torch.serialization.safe_globals(_SAFE):
            yield
    except _Refused as error:
        raise CheckpointError(f'{source} was refused: {error}') from None
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (.+?)(?: was not an allowed| whose module|$)', str(error), re.M)
        if found is None:
            raise CheckpointError(
                f'{source} is not a checkpoint, or is damaged: {_last_line(error)}'
            ) from None
        raise CheckpointError(
            f'{source} was refused: it asks for {found.group(1)!r}, which is no part of a '
            'checkpoint and could run code. If you trust whoever wrote it, have them save a '
            'state_dict of tensors alone.'
        ) from None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A damaged file makes the unpickler fail in any way at all.
        raise CheckpointError(
            f'{source} is not a checkpoint, or is damaged: {type(error).__name__}: '
            f'{_last_line(error)}'
        ) from error


def _last_line(error: Exception) -> str:
    # PyTorch ends its messages with an address.
    lines = [line.strip() for line in str(error).splitlines() if 'https://' not in line]
    lines = [line for line in lines if line]
    return lines[-1] if lines else type(error).__name__


def load_checkpoint_file(path: Union[str, Path], map_location: Any = 'cpu') -> Any:
    """Load a checkpoint; no code in it is run.

    Tensors, Python numbers, strings and containers, NumPy numbers and arrays, and MMEngine's
    message hub are read; anything else is refused.

    Args:
        path (str | Path): A file that ``torch.save`` wrote.
        map_location (Any): Where the tensors go, as in :func:`torch.load`.

    Returns:
        Any: What was saved, most often a dict with ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, is no checkpoint, or would run code.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} can not be found.')
    with _guard(path):
        return _built(torch.load(path, map_location=map_location, weights_only=True), {})


def load_checkpoint_url(url: str, map_location: Any = None, **kwargs) -> Any:
    """Download a checkpoint into PyTorch's cache and load it; no code in it is run.

    Args:
        url (str): Address of the file.
        map_location (Any): Where the tensors go, as in :func:`torch.load`.
        **kwargs: As for :func:`torch.hub.load_state_dict_from_url`.

    Raises:
        CheckpointError: As for :func:`load_checkpoint_file`.
    """
    with _guard(url):
        kwargs['weights_only'] = True
        state = torch.hub.load_state_dict_from_url(url, map_location=map_location, **kwargs)
        return _built(state, {})
