#!/usr/bin/env python3
"""Write a checkpoint in the layout of the authors' released PAN files (.pth.tar).

The values come from a fixed rule on the parameter's name; names, shapes and the wrapping
('module.' prefix, epoch, arch, best_prec1) are those of the authors' code. expected_*.npz holds
what the authors' code computes with them.

    python tests/data/parity/make_checkpoint.py lite_r50 out.pth.tar   # or pa_r50, rgb_r50
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def value(key: str, shape: list) -> np.ndarray:
    """The fixed rule: what the parameter or buffer called `key` holds."""
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    draw = rng.standard_normal(shape)
    if key.endswith('running_var'):
        draw = 1 + 0.2 * np.abs(draw)
    elif key.endswith('running_mean'):
        draw = 0.1 * draw
    elif len(shape) == 1 and ('bn' in key or 'downsample.1' in key):
        draw = (0.9 if key.endswith('weight') else 0.0) + 0.1 * draw
    elif len(shape) == 1:
        draw = 0.1 * draw
    elif 'shallow_conv' in key:
        draw = 0.05 * draw
    else:
        fan_in = int(np.prod(shape[1:]))
        draw = draw * np.sqrt((2.0 if len(shape) == 4 else 1.0) / fan_in)
    return draw.astype(np.float32)


def checkpoint(stream: str) -> dict:
    keys = json.loads((HERE / 'official_keys.json').read_text())[stream]
    state = {f'module.{k}': torch.from_numpy(np.ascontiguousarray(value(k, s))) for k, s in keys}
    return dict(
        epoch=80,
        arch=stream.split('_')[1].replace('r', 'resnet'),
        state_dict=state,
        optimizer={},
        best_prec1=torch.tensor(0.0),
    )


def frames(num_segments: int = 8, length: int = 4, size: int = 112, batch: int = 2) -> np.ndarray:
    """Normalised input, shape (batch, num_segments, length, 3, size, size)."""
    rng = np.random.RandomState(7)
    base = rng.standard_normal((batch, num_segments, 1, 3, size, size))
    return (base + 0.3 * rng.standard_normal((batch, num_segments, length, 3, size, size))).astype(
        np.float32
    )


if __name__ == '__main__':
    torch.save(checkpoint(sys.argv[1]), sys.argv[2])
