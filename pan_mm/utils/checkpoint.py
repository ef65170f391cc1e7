"""Reads checkpoints as data: no code in them runs, and damage is found.

``torch.load(weights_only=True)`` reads what MMEngine writes if ten more names are allowed. Here
these stand for functions and classes that take plain data and do nothing else; NumPy's own would
admit memory without bounds.

``torch.save`` writes a zip of stored entries, each with its CRC, which PyTorch does not look at.
Here every CRC is checked, and nothing larger than the file is taken from it: neither a compressed
entry nor a tensor that claims more numbers than there are.
"""

import hashlib
import math
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .addresses import redact_url
from .errors import CheckpointError, shown

# safe_globals changes one list for the whole process.
_lock = threading.Lock()

ZIP = b'PK\x03\x04'
# PyTorch's reader lets a pickle create one of any size.
_BYTEARRAYS = (b'builtins\nbytearray\n', b'__builtin__\nbytearray\n')


class _Refused(Exception):
    """Says what a checkpoint holds that it may not."""


class _Dtype:
    """A NumPy dtype of numbers or texts, in its byte order; no structures, no objects."""

    def __init__(self, code, *_):
        if not isinstance(code, str) or re.fullmatch(r'[biufcSU]\d+', code) is None:
            raise _Refused(f'it holds a NumPy dtype {code!r}, which is not plain data')
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        if any(part is not None for part in state[2:5]):
            raise _Refused('it holds a NumPy dtype that is not plain data')
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
            raise _Refused('its message hub holds other than numbers')
        super().__init__(*lists, int(state['max_length']))
        self.__class__ = HistoryBuffer


def _scalar(dtype, data):
    return np.frombuffer(data, dtype.dtype, count=1)[0]


_SAFE: list = [
    (dict, 'mmengine.config.config.ConfigDict'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (lambda *_: None, 'builtins.getattr'),  # of HistoryBuffer's methods, which a new one has
    (lambda: b'', 'builtins.bytes'),  # b'' in protocol 2
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    # NumPy 2 and NumPy 1 write different names for the same thing.
    *((lambda *_: _Array(), f'numpy.{core}.multiarray._reconstruct') for core in ('_core', 'core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('_core', 'core')),
]


def _reason(error: Exception) -> str:
    """Complete 'FILE …' with what an error of the unpickler means."""
    if isinstance(error, _Refused):
        return f'was refused: {error}'
    found = re.search(r'GLOBAL (.+?)(?: was not an allowed| whose module|$)', str(error), re.M)
    if found:
        return (
            f'was refused: it asks for {found.group(1)!r}, which is not part of a checkpoint and '
            'could run code. If you trust whoever wrote it, have them save a state_dict that '
            'holds only tensors.'
        )
    lines = [line for line in map(str.strip, str(error).splitlines()) if line]
    lines = [line for line in lines if 'https://' not in line] or ['']  # of PyTorch's manual
    return f'is not a checkpoint, or is damaged: {type(error).__name__}: {lines[-1]}'


def _pickles_of(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the pickles of a checkpoint of either format, a zip once it is shown to be whole."""
    file.seek(0)
    if file.read(len(ZIP)) != ZIP:
        file.seek(0)
        yield file.read()
        return
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _Refused(f'its entry {entry.filename!r} is compressed, as torch.save never does')
    # PyTorch reads the directory where the file says it is, zipfile at the end; and of two entries
    # of a name, in which PyTorch takes A for a, each may read another one.
    names = {entry.filename.lower() for entry in entries}
    begins = min((entry.header_offset for entry in entries), default=None) == 0
    if not begins or len(names) < len(entries) or sum(e.file_size for e in entries) > size:
        raise _Refused('it does not begin with its zip, or entries overlap or have one name')
    if damaged := archive.testzip():
        raise zipfile.BadZipFile(f'the CRC of {damaged} differs')
    yield from (archive.read(name) for name in archive.namelist() if name.endswith('.pkl'))


def load_data(file: BinaryIO, source: str) -> Any:
    """Load what ``torch.save`` wrote, only as data.

    Args:
        file (BinaryIO): The file, at any position.
        source (str): Its name, for the error.

    Raises:
        CheckpointError: As for :func:`load_checkpoint_file`.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        if any(name in content for content in _pickles_of(file, size) for name in _BYTEARRAYS):
            raise _Refused("it asks for 'bytearray', which is not part of a checkpoint")
        file.seek(0)
        with _lock, torch.serialization.safe_globals(_SAFE):
            value = torch.load(file, map_location=_bounded(size), weights_only=True)
        _refuse_overlaps(value)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise CheckpointError(f'{source} {_reason(error)}') from error
    return value


def _bounded(size: int) -> Callable:
    """A ``map_location`` of storages of ``size`` bytes in all, which no tensor can make grow."""

    def place(storage, location):
        nonlocal size
        size -= storage.nbytes()
        if size < 0:
            raise _Refused('its tensors claim more numbers than the file holds')
        if storage.resizable():  # in the pre-1.6 format, where it is filled later
            return torch.from_numpy(np.empty(storage.nbytes(), np.uint8)).untyped_storage()
        return storage

    return place


def _refuse_overlaps(value: Any) -> None:
    """Refuse tensors that show the same few numbers many times, which a copy would write out."""
    claimed, held = 0, {}
    for _, tensor in _leaves(value):
        if torch.is_tensor(tensor) and tensor.layout == torch.strided and not tensor.is_meta:
            claimed += tensor.numel() * tensor.element_size()
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    if claimed > 2 * sum(held.values()) + 2**24:  # tied weights have two names
        raise _Refused('its tensors claim more numbers than the file holds')


def _leaves(value: Any, name: str = '', seen: Optional[set] = None) -> Iterator[tuple]:
    """All that is in dicts, lists and tuples, each of them once, with dotted names."""
    seen = set() if seen is None else seen
    if not isinstance(value, (dict, list, tuple)):
        yield name, value
    elif id(value) not in seen:
        seen.add(id(value))
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, f'{name}.{key}' if name else str(key), seen)


def load_checkpoint_file(path: Union[str, Path], source: Optional[str] = None) -> Any:
    """Load a checkpoint; no code in it is run, and its CRCs are checked.

    Tensors, which stay on the CPU, Python's numbers, texts and containers, NumPy's numbers, and
    MMEngine's message hub are read; arrays come as flat lists; anything else is refused.

    Args:
        path (str | Path): A file that ``torch.save`` wrote, or a safetensors file, as its first
            bytes tell.
        source (str, optional): What errors call it. Defaults to ``path``.

    Returns:
        Any: What was saved, most often a dict with ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, is not a checkpoint, or would run code.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} can not be found.')
    with open(path, 'rb') as file:
        # A safetensors file begins with the length of its header, eight bytes, and the header.
        if file.read(9)[8:] != b'{':
            return load_data(file, source or path)
    from .safetensors import load_safetensors

    return load_safetensors(path, source)


def cache_path(url: str, model_dir: Optional[str] = None, file_name: Optional[str] = None) -> str:
    """Name the file that keeps what is at an address; each address has one of its own."""
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return os.path.join(folder, digest, file_name or os.path.basename(urlsplit(url).path))


def load_checkpoint_url(
    url: str,
    map_location: Any = None,
    model_dir: Optional[str] = None,
    progress: bool = True,
    check_hash: bool = True,
    file_name: Optional[str] = None,
) -> Any:
    """Download a checkpoint into PyTorch's cache and load it as :func:`load_checkpoint_file` does.

    Args:
        url (str): Address of the file.
        map_location (Any): Not used; tensors stay on the CPU.
        model_dir (str, optional): Folder to keep the file in. Defaults to that of ``torch.hub``.
        progress (bool): Show a bar on stderr. Defaults to True.
        check_hash (bool): Hold the file against the hash in its name, as in NAME-0a1b2c3d.pth, if
            there is one. Defaults to True.
        file_name (str, optional): Name to keep the file under. Defaults to the address's last part.

    Raises:
        OSError: If it cannot be downloaded.
        CheckpointError: If its hash is another, and as for :func:`load_checkpoint_file`.
    """
    path, source = cache_path(url, model_dir, file_name), redact_url(url)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        print(f'Downloading: "{source}" to {path}', file=sys.stderr)
        found = re.search(r'-([0-9a-f]{8,64})\.', os.path.basename(path)) if check_hash else None
        try:
            torch.hub.download_url_to_file(url, path, found and found.group(1), progress=progress)
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash is another
            kind = CheckpointError if isinstance(error, RuntimeError) else OSError
            raise kind(f'{source}: cannot be downloaded ({redact_url(error)})') from error
    return load_checkpoint_file(path, f'{source} (kept as {path}; remove it to download it again)')


# What may be in it ----------------------------------------------------------------------------

# A model's parameters and buffers are of one of these; each converts to another without loss of
# meaning, as float16 weights in a float32 model.
_DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64),
)


def weights_of(checkpoint: Any, source: str) -> dict:
    """The weights in a checkpoint, shown to be weights.

    Args:
        checkpoint (Any): What :func:`load_checkpoint_file` gave.
        source (str): Where it is from, for the error.

    Returns:
        dict[str, Tensor]: Weights by name; names that end in ``_extra_state`` hold other data.

    Raises:
        CheckpointError: If there is anything else, or a weight is complex, quantized, of eight
            bits with a sign, sparse, or without data.
    """
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(
            f'{source} holds {shown(checkpoint)}, not weights by name, which are a dict of '
            'tensors, or one under state_dict'
        )
    for name, weight in weights.items():
        if not _is_weight(name, weight):
            kind = type(weight).__name__
            if torch.is_tensor(weight):
                kind = f'tensor of {"meta" if weight.is_meta else weight.dtype}, {weight.layout}'
            raise CheckpointError(
                f'{source}: {name!r} is a {kind}, not a weight; save a dict of tensors by name, '
                'or one under state_dict'
            )
    return weights


def _is_weight(name: Any, weight: Any) -> bool:
    if not isinstance(name, str) or not torch.is_tensor(weight):
        return isinstance(name, str) and name.endswith('_extra_state')
    is_dense = weight.layout == torch.strided and not weight.is_meta
    return is_dense and weight.dtype in _DTYPES


def check_finite(state: Any, source: str) -> None:
    """Refuse weights, or the state of a training, that are not numbers.

    Args:
        state (Any): Tensors and numbers in dicts and lists.
        source (str): What they are of, for the error.

    Raises:
        CheckpointError: If one is NaN or infinite, with its name.
    """
    for name, value in _leaves(state):
        if torch.is_tensor(value):
            is_finite = not value.is_floating_point() or bool(value.isfinite().all())
        else:
            is_finite = not isinstance(value, float) or math.isfinite(value)
        # A schedule that waits for a metric starts with an infinite best.
        if not is_finite and not name.endswith('.best'):
            raise CheckpointError(
                f'{source}: {name} is NaN or infinite; take a checkpoint from before it, lower the '
                'learning rate, or clip the gradients'
            )


def training_state(checkpoint: dict) -> dict:
    """The parts of a checkpoint that a training computes with: weights, averages, optimizer."""
    names = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return {name: checkpoint[name] for name in names if name in checkpoint}


def plain_copies(weights: dict, dtype: Optional[torch.dtype] = None) -> dict:
    """Copies of weights that share no memory, on the CPU, so that a file holds no more than them.

    Args:
        weights (dict[str, Tensor]): Weights by name; other data stay.
        dtype (torch.dtype, optional): Type of the floating-point weights. Defaults to their own.

    Raises:
        CheckpointError: If a weight is NaN, infinite, or too large for ``dtype``.
    """
    check_finite(weights, 'the weights')
    copies = {}
    for name, weight in weights.items():
        if torch.is_tensor(weight):
            wanted = dtype if weight.is_floating_point() else None
            copy = weight.detach().to('cpu', wanted or weight.dtype)
            copies[name] = copy.clone(memory_format=torch.contiguous_format)
            if wanted and not copy.isfinite().all():
                raise CheckpointError(
                    f'{name} has values up to {weight.abs().max():.3g}, which {dtype} cannot hold; '
                    'leave the weights as they are'
                )
        else:
            copies[name] = weight
    return copies


def check_resumable(checkpoint: Any, source: str) -> None:
    """Refuse a checkpoint that a training cannot continue from.

    Raises:
        CheckpointError: If it lacks the epoch, the iteration or the message hub, a number in its
            weights or its optimizer is NaN or infinite, or its list of checkpoints is not one.
    """
    weights_of(checkpoint, source)
    meta, info = (_dict_in(checkpoint, path, source) for path in HOLDERS)
    kept = info.get('keep_ckpt_ids', [])
    numbers = [meta.get('epoch'), meta.get('iter'), *(kept if isinstance(kept, list) else [kept])]
    is_whole = all(type(number) is int and number >= 0 for number in numbers)
    if not is_whole or 'message_hub' not in checkpoint:
        raise CheckpointError(
            f'{source}: no training can be resumed from it, for it has no message_hub, or epoch, '
            f'iter and keep_ckpt_ids are not numbers, but {shown(numbers)}. To start a new one '
            'from its weights, without state of an optimizer, set load_from'
        )
    check_finite(training_state(checkpoint), source)


HOLDERS = (('meta',), ('message_hub', 'runtime_info'))  # of what a run notes in a checkpoint


def _dict_in(checkpoint: dict, path: tuple, source: str) -> dict:
    for key in path:
        checkpoint = checkpoint.get(key, {})
        if not isinstance(checkpoint, dict):
            raise CheckpointError(f'{source}: its {".".join(path)} is not a dict')
    return checkpoint


def check_checkpoint(checkpoint: Any, source: str) -> dict:
    """Take from a checkpoint what MMEngine may get: data, without the text of a config.

    ``Runner.resume`` and the inferencers run that text as Python.

    Args:
        checkpoint (Any): What a loader gave.
        source (str): Where it is from, for the error.

    Returns:
        dict: The same object; ``cfg`` and ``config`` are gone from its ``meta`` and from the
        runtime info of its message hub.

    Raises:
        CheckpointError: If it is not a dict, its weights are none, or ``meta`` is not a dict.
    """
    is_other = isinstance(checkpoint, dict) and 'state_dict' not in checkpoint
    if not is_other or all(map(torch.is_tensor, checkpoint.values())):
        weights_of(checkpoint, source)
    for path in HOLDERS:
        for key in ('cfg', 'config'):
            _dict_in(checkpoint, path, source).pop(key, None)
    return checkpoint
