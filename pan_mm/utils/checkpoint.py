"""Checkpoints: reading them from files and addresses, and what may be in them."""

import hashlib
import math
import os
import re
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import urlsplit

import torch

from .addresses import redact_url
from .errors import CheckpointError, shown
from .plain_data import leaves, load_torch
from .safetensors import load_safetensors

HOLDERS = (('meta',), ('message_hub', 'runtime_info'))  # of what a run notes in a checkpoint


def load_checkpoint_file(path: Union[str, Path], source: Optional[str] = None) -> Any:
    """Load a checkpoint of ``torch.save`` or a safetensors file; no code in it is run.

    Tensors stay on the CPU, and NumPy arrays come as flat lists. ``source`` is its name in errors.

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
            return load_torch(file, source or path)
    return load_safetensors(path, source)


def cache_path(url: str, model_dir: Optional[str] = None) -> str:
    """Name the file that keeps a download; each address has its own."""
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return os.path.join(folder, digest, os.path.basename(urlsplit(url).path))


def load_checkpoint_url(
    url: str, map_location: Any = None, model_dir: Optional[str] = None, **_: Any
) -> Any:
    """Download a checkpoint into PyTorch's cache and load it as :func:`load_checkpoint_file` does.

    It is held against the hash in its name, as in NAME-0a1b2c3d.pth, if there is one.
    """
    path, source = cache_path(url, model_dir), redact_url(url)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        print(f'Downloading: "{source}" to {path}', file=sys.stderr)
        found = re.search(r'-([0-9a-f]{8,64})\.', os.path.basename(path))
        try:
            torch.hub.download_url_to_file(url, path, found and found.group(1))
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash is another
            kind = CheckpointError if isinstance(error, RuntimeError) else OSError
            raise kind(f'{source}: cannot be downloaded ({redact_url(error)})') from error
    return load_checkpoint_file(path, f'{source} (kept as {path}; remove it to download it again)')


def weights_of(checkpoint: Any, source: str) -> dict:
    """Return the weights in a checkpoint, shown to be dense real tensors by name."""
    fix = 'save a dict of tensors by name, or one under state_dict'
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f'{source} holds {shown(checkpoint)}, not weights by name; {fix}')
    for name, weight in weights.items():
        if not _is_weight(name, weight):
            kind = type(weight).__name__
            if torch.is_tensor(weight):
                kind = f'tensor of {weight.dtype}, {weight.layout}, on {weight.device}'
            raise CheckpointError(f'{source}: {name!r} is a {kind}, not a weight; {fix}')
    return weights


def _is_weight(name: Any, weight: Any) -> bool:
    if not torch.is_tensor(weight):
        return str(name).endswith('_extra_state')
    is_dense = weight.layout == torch.strided and not weight.is_meta
    return isinstance(name, str) and is_dense and not (weight.is_complex() or weight.is_quantized)


def check_finite(state: Any, source: str) -> None:
    """Refuse weights, or the state of a training, that are NaN or infinite; names the first."""
    for name, value in leaves(state):
        if torch.is_tensor(value):
            is_finite = bool(value.isfinite().all())
        else:
            is_finite = not isinstance(value, float) or math.isfinite(value)
        # A schedule that waits for a metric starts with an infinite best.
        if not is_finite and not name.endswith('.best'):
            raise CheckpointError(
                f'{source}: {name} is NaN or infinite; take a checkpoint from before it, lower the '
                'learning rate, or clip the gradients'
            )


def training_state(checkpoint: dict) -> dict:
    """Return what a training computes with: weights, averages, optimizer, schedules."""
    names = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return {name: checkpoint[name] for name in names if name in checkpoint}


def check_resumable(checkpoint: Any, source: str) -> None:
    """Refuse a checkpoint that lacks the state of a training, or holds NaN or infinite numbers."""
    weights_of(checkpoint, source)
    meta, info = (dict_in(checkpoint, path, source) for path in HOLDERS)
    kept = info.get('keep_ckpt_ids', [])
    numbers = [meta.get('epoch'), meta.get('iter'), *(kept if isinstance(kept, list) else [kept])]
    is_whole = all(type(number) is int and number >= 0 for number in numbers)
    if not is_whole or 'message_hub' not in checkpoint:
        raise CheckpointError(
            f'{source} holds no state of a training: it has no message_hub, or epoch, iter and '
            f'keep_ckpt_ids are not numbers, but {shown(numbers)}. To start a new training from '
            'its weights, set load_from'
        )
    check_finite(training_state(checkpoint), source)


def dict_in(checkpoint: dict, path: tuple, source: str) -> dict:
    """Find the dict at a path of keys in a checkpoint; empty where there is none."""
    for key in path:
        checkpoint = checkpoint.get(key) or {}
        if not isinstance(checkpoint, dict):
            kind = type(checkpoint).__name__
            raise CheckpointError(f'{source}: its {key} is a {kind}, not a dict')
    return checkpoint


def dataset_meta_of(checkpoint: dict, source: str) -> dict:
    """Take the ``dataset_meta`` of a checkpoint, whose ``classes`` are names."""
    dataset_meta = dict_in(checkpoint, ('meta', 'dataset_meta'), source)
    classes = dataset_meta.get('classes') or []
    named = isinstance(classes, (list, tuple)) and all(isinstance(c, (str, int)) for c in classes)
    if not named:
        raise CheckpointError(
            f'{source}: classes in its dataset_meta is {shown(classes)}, not a list of names'
        )
    return dataset_meta


def check_checkpoint(checkpoint: Any, source: str) -> dict:
    """Take out of a checkpoint the text of a config, which MMEngine would run as Python."""
    is_other = isinstance(checkpoint, dict) and 'state_dict' not in checkpoint
    if not is_other or all(map(torch.is_tensor, checkpoint.values())):
        weights_of(checkpoint, source)
    for path in HOLDERS:
        for key in ('cfg', 'config'):
            dict_in(checkpoint, path, source).pop(key, None)
    return checkpoint
