"""Reads checkpoints as data: no code in them runs, and damage is found.

MMEngine's checkpoints hold more than tensors: a message hub of HistoryBuffers, NumPy
arrays and scalars. PyTorch's ``weights_only`` unpickler refuses them, and allowing the real
names would admit ``builtins.getattr`` and NumPy's constructors. Here those names stand for
plain records that hold data and do nothing; the real objects are made from the records
after the file has been read.

``torch.save`` writes a zip of stored entries, each with its CRC, which PyTorch does not look at.
Here every CRC is checked, and nothing larger than the file is taken from it: neither a compressed
entry nor a tensor that claims more numbers than there are.
"""

import hashlib
import math
import os
import pickle
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from .addresses import redact_url
from .errors import CheckpointError, shown

__all__ = [
    'cache_path',
    'check_archive',
    'check_checkpoint',
    'check_finite',
    'check_resumable',
    'load_checkpoint_file',
    'load_checkpoint_url',
    'load_data',
    'plain_copies',
    'weights_of',
]

# safe_globals changes one list for the whole process.
_lock = threading.Lock()

ZIP = b'PK\x03\x04'
# PyTorch's reader lets a pickle create one of any size.
_BYTEARRAYS = (b'builtins\nbytearray\n', b'__builtin__\nbytearray\n')


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
    # How MMEngine pickles HistoryBuffer.min, .max, .mean, .current: only by name.
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


def _built(value: Any, done: dict, device: torch.device) -> Any:
    """Replace the records inside ``value`` by what they describe; ``done`` maps id to result."""
    if isinstance(value, torch.Tensor):
        if value.device == device or value.is_meta:
            return value
        return value.detach().to(device).requires_grad_(value.requires_grad)
    if not isinstance(value, (_Array, _History, _Dtype, dict, list, tuple)):
        return value
    if id(value) in done:
        return done[id(value)][1]
    result: Any = value
    if isinstance(value, (_Array, _History)):
        result = value.build()
    elif isinstance(value, _Dtype):
        result = value.dtype
    elif type(value) is tuple:
        result = tuple(_built(item, done, device) for item in value)
    # Kept with its result, so that no other object can reuse its id.
    done[id(value)] = value, result
    if isinstance(value, list):
        value[:] = [_built(item, done, device) for item in value]
    elif isinstance(value, dict):
        for key in value:
            value[key] = _built(value[key], done, device)
    return result


@contextmanager
def _guard(source: str) -> Iterator[None]:
    """Only data comes in; every failure names the file."""
    # Earlier versions let weights_only=True be bypassed (CVE-2025-32434).
    if digit_version(torch.__version__) < digit_version('2.6'):
        raise CheckpointError(f'{source}: reading a checkpoint safely needs torch>=2.6')
    try:
        with _lock, torch.serialization.safe_globals(_SAFE):
            yield
    except CheckpointError:
        raise
    except _Refused as error:
        raise CheckpointError(f'{source} was refused: {error}') from None
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (.+?)(?: was not an allowed| whose module|$)', str(error), re.M)
        if found is None:
            raise CheckpointError(
                f'{source} is not a checkpoint, or is damaged: {_last_line(error)}'
            ) from None
        raise CheckpointError(
            f'{source} was refused: it asks for {found.group(1)!r}, which is not part of a '
            'checkpoint and could run code. If you trust whoever wrote it, have them save a '
            'state_dict that holds only tensors.'
        ) from None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A damaged file can make the unpickler fail in any way.
        raise CheckpointError(
            f'{source} is not a checkpoint, or is damaged: {type(error).__name__}: '
            f'{_last_line(error)}'
        ) from error


def _last_line(error: Exception) -> str:
    # PyTorch ends its messages with an address.
    lines = [line.strip() for line in str(error).splitlines() if 'https://' not in line]
    lines = [line for line in lines if line]
    return lines[-1] if lines else type(error).__name__


def check_archive(file: BinaryIO, source: str) -> zipfile.ZipFile:
    """Open a zip of PyTorch's once it is shown to be whole.

    Args:
        file (BinaryIO): The file, at any position.
        source (str): Its name, for the error.

    Raises:
        CheckpointError: If an entry is damaged, is compressed (``torch.save`` never does), takes
            more than the file has, or is there twice.
        zipfile.BadZipFile: If it is not a zip.
    """
    size = file.seek(0, os.SEEK_END)
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise CheckpointError(
                f'{source} was refused: its entry {entry.filename!r} is compressed, to '
                f'{entry.compress_size} of {entry.file_size} bytes; torch.save does not compress'
            )
    # PyTorch reads the directory where the file says it is; zipfile reads it at the end.
    if not entries or min(entry.header_offset for entry in entries) != 0:
        raise CheckpointError(f'{source} is not a checkpoint: it does not begin with its zip')
    if sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f'{source} was refused: its entries overlap')
    # zipfile reads the last of two; PyTorch does not say which one it reads, and takes A for a.
    if len({entry.filename.lower() for entry in entries}) < len(entries):
        raise CheckpointError(f'{source} was refused: it has two entries of one name')
    for entry in entries:
        with archive.open(entry) as part:
            while part.read(1 << 20):  # raises at the end if the CRC differs
                pass
    return archive


def load_data(file: BinaryIO, source: str, device: Union[str, torch.device] = 'cpu') -> Any:
    """Load what ``torch.save`` wrote, only as data.

    Args:
        file (BinaryIO): The file, at any position.
        source (str): Its name, for the error.
        device (str | torch.device): Where the tensors go. Defaults to 'cpu'.

    Raises:
        CheckpointError: As for :func:`load_checkpoint_file`.
    """
    with _guard(source):
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(len(ZIP)) == ZIP:
            archive = check_archive(file, source)
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith('.pkl')]
        else:
            file.seek(0)
            pickles = [file.read()]
        if any(name in content for name in _BYTEARRAYS for content in pickles):
            raise _Refused("it asks for 'bytearray', which is not part of a checkpoint")
        file.seek(0)
        value = torch.load(file, map_location=_bounded(size), weights_only=True)
        _refuse_overlaps(value)
        return _built(value, {}, torch.device(device))


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


def load_checkpoint_file(path: Union[str, Path], map_location: Any = 'cpu') -> Any:
    """Load a checkpoint; no code in it is run, and its CRCs are checked.

    Tensors, Python numbers, strings and containers, NumPy numbers and arrays, and MMEngine's
    message hub are read; anything else is refused.

    Args:
        path (str | Path): A file that ``torch.save`` wrote, or a safetensors file, as its first
            bytes tell.
        map_location (str | torch.device): Where the tensors go. Anything but a device leaves them
            on the CPU.

    Returns:
        Any: What was saved, most often a dict with ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, is not a checkpoint, or would run code.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} can not be found.')
    return _load(path, map_location, path)


def _load(path: str, map_location: Any, source: str) -> Any:
    device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    with open(path, 'rb') as file:
        # A safetensors file begins with the length of its header, eight bytes, and the header.
        if file.read(9)[8:] != b'{':
            return load_data(file, source, device)
    from .safetensors import load_safetensors

    return load_safetensors(path, device, source)


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
        map_location (str | torch.device, optional): Where the tensors go.
        model_dir (str, optional): Folder to keep the file in. Defaults to that of ``torch.hub``.
        progress (bool): Show a bar on stderr. Defaults to True.
        check_hash (bool): Hold the file against the hash in its name, as in NAME-0a1b2c3d.pth, if
            there is one. Defaults to True.
        file_name (str, optional): Name to keep the file under. Defaults to the address's last part.

    Raises:
        OSError: If it cannot be downloaded.
        CheckpointError: If its hash is another, and as for :func:`load_checkpoint_file`.
    """
    path = cache_path(url, model_dir, file_name)
    folder, name = os.path.split(path)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        print(f'Downloading: "{redact_url(url)}" to {path}', file=sys.stderr)
        found = re.search(r'-([0-9a-f]{8,64})\.', name) if check_hash else None
        try:
            torch.hub.download_url_to_file(url, path, found and found.group(1), progress=progress)
        except RuntimeError as error:  # the hash is another
            raise CheckpointError(
                f'{redact_url(url)}: {error}; it is damaged, or another'
            ) from error
        except (OSError, HTTPException) as error:
            reason = redact_url(error)
            raise OSError(f'{redact_url(url)}: cannot be downloaded ({reason})') from error
    try:
        return _load(path, map_location, redact_url(url))
    except CheckpointError as error:
        raise CheckpointError(
            f'{error} (kept as {path}; remove that file to download it again)'
        ) from error


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
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{source} holds a {type(checkpoint).__name__}, not weights by name')
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict):
        raise CheckpointError(
            f'{source}: its state_dict is a {type(weights).__name__}, not weights by name'
        )
    for name, weight in weights.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f'{source}: {name!r} is the name of a weight, but is not a text; is it a '
                'checkpoint of a model?'
            )
        if name.endswith('_extra_state'):
            continue
        if not isinstance(weight, torch.Tensor):
            raise CheckpointError(
                f'{source}: {name!r} is a {type(weight).__name__}, not a weight; a checkpoint is '
                'a dict of tensors by name, or has one under state_dict'
            )
        if weight.dtype not in _DTYPES or weight.layout != torch.strided or weight.is_meta:
            kind = 'meta' if weight.is_meta else weight.dtype
            raise CheckpointError(
                f'{source}: {name!r} is of the kind {kind}, {weight.layout}, which is not a weight '
                'of a model; save the weights as float32'
            )
    return weights


def check_finite(state: Any, source: str) -> None:
    """Refuse weights, or the state of a training, that are not numbers.

    Args:
        state (Any): Tensors, arrays and numbers in dicts and lists.
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
        if not isinstance(weight, torch.Tensor):
            copies[name] = weight
            continue
        wanted = dtype if weight.is_floating_point() else None
        copy = weight.detach().to('cpu', wanted or weight.dtype)
        copies[name] = copy.clone(memory_format=torch.contiguous_format)
        if wanted and not copy.isfinite().all():
            raise CheckpointError(
                f'{name} has values up to {weight.abs().max():.3g}, which {dtype} cannot hold; '
                'leave the weights as they are'
            )
    return copies


def check_resumable(checkpoint: Any, source: str) -> None:
    """Refuse a checkpoint that a training cannot continue from.

    Raises:
        CheckpointError: If it lacks the epoch, the iteration or the message hub, a number in its
            weights or its optimizer is NaN or infinite, or its list of checkpoints is not one.
    """
    weights_of(checkpoint, source)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    held: dict = dict(
        epoch=meta.get('epoch'), iter=meta.get('iter'), hub=checkpoint.get('message_hub')
    )
    for (name, value), kind in zip(held.items(), (int, int, dict)):
        if not isinstance(value, kind) or (isinstance(value, int) and value < 0):
            raise CheckpointError(
                f'{source}: no training can be resumed from it, for its {name} is '
                f'{"missing" if value is None else shown(value)}. To start a new training '
                'from its weights, without state of an optimizer, set load_from'
            )
    info = checkpoint['message_hub'].get('runtime_info', {})
    kept = info.get('keep_ckpt_ids', []) if isinstance(info, dict) else None
    if not isinstance(kept, list) or not all(type(number) is int for number in kept):
        raise CheckpointError(f'{source}: its keep_ckpt_ids are {shown(kept)}, not numbers')
    check_finite(training_state(checkpoint), source)


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
    tensors = isinstance(checkpoint, dict) and map(torch.is_tensor, checkpoint.values())
    if not tensors or 'state_dict' in checkpoint or all(tensors):
        weights_of(checkpoint, source)
    for path in (('meta',), ('message_hub', 'runtime_info')):
        holder = checkpoint
        for key in path:
            holder = holder.get(key, {})
            if not isinstance(holder, dict):
                raise CheckpointError(
                    f'{source}: its {".".join(path)} is a {type(holder).__name__}, not a dict'
                )
        for key in ('cfg', 'config'):
            holder.pop(key, None)
    return checkpoint
