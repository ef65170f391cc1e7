"""Weights as a safetensors file: numbers and texts, nothing that could run.

The file has tensors by name and one table of texts, which here are:

==================  ==============================================================
``config``          text of the config, never evaluated, or its name in the zoo
``classes``         names of the classes, JSON
``mean``, ``std``   of the channels, as the model normalizes frames, JSON
``pan_mm_version``  of the writer
``crc32``           of the texts and the tensors, as the format has no checksum
==================  ==============================================================

Any reader of the format takes it. Files of other writers are read without ``crc32``.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pan_mm.version import __version__

from .checkpoint import plain_copies
from .errors import CheckpointError
from .files import atomic_write

SUFFIX = '.safetensors'


def _crc32(texts: dict, weights: dict) -> str:
    crc = zlib.crc32(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(weights):
        weight = weights[name]
        crc = zlib.crc32(f'{name} {weight.dtype} {tuple(weight.shape)}'.encode(), crc)
        crc = zlib.crc32(weight.reshape(-1).view(torch.uint8).numpy(), crc)
    return f'{crc:08x}'


def save_safetensors(
    path: Union[str, Path],
    weights: dict,
    dtype: Optional[torch.dtype] = None,
    **texts: Union[str, list],
) -> None:
    """Write weights; ``path`` is replaced once the file is whole.

    Args:
        path (str | Path): The file.
        weights (dict[str, Tensor]): State dict of a model.
        dtype (torch.dtype, optional): Type of the floating-point weights. Defaults to their own.
        **texts (str | list): Further texts; lists are written as JSON.

    Raises:
        CheckpointError: If the file, read again, is not what was to be written, or a weight is too
            large for ``dtype``.
    """
    weights = plain_copies(weights, dtype)
    table = {
        key: text if isinstance(text, str) else json.dumps(text) for key, text in texts.items()
    }
    table.update(format='pt', pan_mm_version=__version__)
    table['crc32'] = _crc32(table, weights)
    with atomic_write(path) as part:
        # Not save_file: its error for a full disk is none of the system's.
        Path(part).write_bytes(save(weights, table))
        load_safetensors(part)


@contextmanager
def _opened(path: Union[str, Path], source: Union[str, Path]) -> Iterator[Any]:
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            yield file
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f'{source} is not a safetensors file, or is damaged: {str(error).splitlines()[0]}'
        ) from error


def read_texts(path: Union[str, Path]) -> dict:
    """Read the texts of a file, without its weights.

    Raises:
        CheckpointError: If the file is damaged or is not a safetensors file.
    """
    with _opened(path, path) as file:
        return file.metadata() or {}


def read_shapes(path: Union[str, Path]) -> dict:
    """Read the shape of each tensor of a file, as a list, without the weights.

    Raises:
        CheckpointError: If the file is damaged or is not a safetensors file.
    """
    with _opened(path, path) as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def load_safetensors(path: Union[str, Path], source: Optional[str] = None) -> dict:
    """Read weights as a checkpoint.

    Args:
        path (str | Path): The file.
        source (str, optional): Name of the file for the error. Defaults to ``path``.

    Returns:
        dict: ``state_dict``, on the CPU, and ``meta``, with ``dataset_meta``, ``mean`` and ``std``
        where the file has them, and the config's text under ``cfg``.

    Raises:
        CheckpointError: If the file is damaged or is not a safetensors file.
    """
    with _opened(path, source or path) as file:
        texts = file.metadata() or {}
        # Copies: the tensors share one mapped storage, which torch.save refuses.
        weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        ours = 'crc32' in texts or 'pan_mm_version' in texts
        if ours and texts.pop('crc32', None) != _crc32(texts, weights):
            raise ValueError('its contents have another CRC')
        meta = {key: json.loads(texts[key]) for key in ('mean', 'std') if key in texts}
        about = {key: json.loads(texts[key]) for key in ('classes', 'calibration') if key in texts}
    if about:
        meta['dataset_meta'] = about
    if 'config' in texts:
        meta['cfg'] = texts['config']
    return dict(state_dict=weights, meta=meta)
