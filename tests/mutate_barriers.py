#!/usr/bin/env python3
"""Take the barriers of the CUDA kernels away, one after the other, and see whether it shows.

    python tests/mutate_barriers.py results/performance/cuda_kernel.json

Each time the emulated kernels are held against the formula in three orders of the warps. The file
gets a row for each barrier; it ends with an error if one is not noticed that is not in EXCEPTIONS.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import torch
from cuda_emulator import BARRIER, ORDERS, SOURCE, Emulator
from ops.test_cuda import BF16, F16, F32, U8, check, random_frames, random_weight

from pan_mm.ops import cuda
from pan_mm.utils.files import write_text

SHAPE = (1, 3, 3, 40, 56)  # of which each warp has columns
# Why the loss of a barrier does not show here.
EXCEPTIONS = {
    'prepare, barrier 1': 'guards the first value of a maximum, which only scales the filters',
}


def place_of(position: int) -> str:
    """The function that holds a barrier, and which one of its barriers it is."""
    heads = re.finditer(r'^(?:KERNEL\(\w+, \w+\)|DEVICE [\w ]*?) ?(\w+)\(', SOURCE[:position], re.M)
    *_, function = heads
    return f'{function[1]}, barrier {SOURCE[function.end() : position].count(BARRIER) + 1}'


def is_right(source: str, folder: Path) -> bool:
    """Whether kernels compute maps and gradients, in all orders."""
    cuda.load = Emulator(folder, source)
    weight = random_weight(8, 3, 7)
    try:
        for order in ORDERS:
            os.environ['WARPS'] = order
            check(random_frames(U8, 'planar', SHAPE), weight, F16, F16, 4e-3)
            check(random_frames(F32, 'planar', SHAPE), weight, F32, F32, 1e-5)
            check(random_frames(F32, 'channels last', SHAPE), weight, BF16, F32, 3e-2)
    except AssertionError:
        return False
    return True


def main(path: str) -> None:
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert is_right(SOURCE, folder)
        for found in re.finditer(re.escape(BARRIER), SOURCE):
            broken = SOURCE[: found.start()] + SOURCE[found.end() :]
            place = place_of(found.start())
            rows.append(dict(barrier=place, noticed=not is_right(broken, folder)))
            print(rows[-1], flush=True)
    report = json.loads(Path(path).read_text('utf-8'))
    report['barriers'] = [dict(row, why=EXCEPTIONS.get(row['barrier'], '')) for row in rows]
    write_text(path, json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    unnoticed = {row['barrier'] for row in rows if not row['noticed']}
    if unnoticed - EXCEPTIONS.keys():
        sys.exit(f'not noticed: {", ".join(sorted(unnoticed))}')


if __name__ == '__main__':
    main(*sys.argv[1:])
