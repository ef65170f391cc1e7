"""Weights as a safetensors file: numbers and texts, nothing that could run.

The file has tensors by name and a table of texts: ``config`` (its text, never evaluated, or its
name in the zoo), and as JSON ``classes``, ``mean``, ``std`` and ``calibration``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pan_mm.version import __version__

from .errors import CheckpointError
from .files import atomic_write

SUFFIX = '.safetensors'


def plain_copies(weights: dict, dtype: Optional[torch.dtype] = None) -> dict:
    """Copy weights to the CPU, as ``dtype``, so that they share no memory."""
    copies = dict(weights)
    for name, weight in weights.items():
        if torch.is_tensor(weight):
            wanted = dtype if dtype and weight.is_floating_point() else weight.dtype
            copy = weight.detach().to('cpu', wanted)
            copies[name] = copy.clone(memory_format=torch.contiguous_format)
            if not copy.isfinite().all():
                raise CheckpointError(f'{name} has values that {wanted} cannot hold')
    return copies


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
        **texts (str | list): The table; lists are written as JSON.

    Raises:
        CheckpointError: If a weight is NaN, infinite, or too large for ``dtype``.
    """
    table = {
        key: text if isinstance(text, str) else json.dumps(text) for key, text in texts.items()
    }
    content = save(
        plain_copies(weights, dtype), dict(table, format='pt', pan_mm_version=__version__)
    )
    with atomic_write(path) as part:
        # Not save_file: its error for a full disk is none of the system's.
        Path(part).write_bytes(content)


@contextmanager
def open_safetensors(path: Union[str, Path], source: Optional[str] = None) -> Iterator[Any]:
    """Open a file as ``safetensors.safe_open`` does."""
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            yield file
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f'{source or path} is not a safetensors file, or is damaged: {reason}'
        ) from error


def read_texts(path: Union[str, Path]) -> dict:
    """Read the texts of a file, without its weights."""
    with open_safetensors(path) as file:
        return file.metadata() or {}


def load_safetensors(path: Union[str, Path], source: Optional[str] = None) -> dict:
    """Read weights as a checkpoint; ``source`` is the name of the file in errors.

    Returns:
        dict: ``state_dict``, on the CPU, and ``meta``, with ``dataset_meta``, ``mean`` and ``std``
        where the file has them, and the config's text under ``cfg``.

    Raises:
        CheckpointError: If the file is damaged or is not a safetensors file.
    """
    with open_safetensors(path, source) as file:
        texts = file.metadata() or {}
        # Copies: the tensors share one mapped storage, which torch.save refuses.
        weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        meta = {key: json.loads(texts[key]) for key in ('mean', 'std') if key in texts}
        about = {key: json.loads(texts[key]) for key in ('classes', 'calibration') if key in texts}
    if about:
        meta['dataset_meta'] = about
    if 'config' in texts:
        meta['cfg'] = texts['config']
    return dict(state_dict=weights, meta=meta)
