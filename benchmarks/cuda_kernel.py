#!/usr/bin/env python3
"""Count the cost of PA's CUDA kernels, without a GPU: registers, spills, shared memory.

    python -m benchmarks.cuda_kernel --out results/performance/cuda_kernel.json

NVRTC compiles programs for compute capability 8.0, 9.0 and 10.0, and logs their needs.
``barriers`` in the file is what `nox -s barriers` has found, and stays.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import torch

from pan_mm.ops.cuda import Variant, choose_variant, compile_program

from .timing import environment, new_parser, show, write_report

CAPABILITIES = ((8, 0), (9, 0), (10, 0))
U8, F16, BF16, F32 = torch.uint8, torch.float16, torch.bfloat16, torch.float32
# Frames, whether channels come last, precision, maps. The third is what training runs.
KINDS = (
    (BF16, False, BF16, BF16),
    (F16, False, F16, F16),
    (F32, True, BF16, F32),
    (U8, False, F16, F16),
    (U8, True, F16, F16),
    (U8, False, F32, F32),
    (F32, False, F32, F32),
    (F32, True, F32, F32),
)


def count(variant: Variant, capability: tuple) -> dict:
    """One row of the report."""
    kernel = 'backward' if variant.backward else 'forward'
    logs = io.StringIO()
    compile_program(variant, capability, logs=logs)
    log = logs.getvalue().partition(f"entry function '{kernel}'")[2]
    return dict(
        kernel=kernel,
        capability=capability[0] + capability[1] / 10,
        frames=variant.frame,
        layout=('planar', 'channels last', 'any')[variant.layout],
        product=variant.product,
        pieces=f'{variant.difference_pieces} × {variant.filter_pieces}',
        maps=variant.map,
        registers=int(re.search(r'Used (\d+) registers', log)[1]),
        spilled_bytes=int(re.search(r'(\d+) bytes spill stores', log)[1]),
        shared_bytes=variant.shared_bytes(kernel),
        blocks=variant.blocks,
    )


def nvrtc_version() -> str:
    """Version of the compiler, such as '13.0'."""
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    return f'{major}.{minor}'


def variants() -> Iterator[Variant]:
    """All variants that the report shows."""
    for dtype, is_last, precision, maps in KINDS:
        frames = torch.empty(1, 4, 3, 224, 224, dtype=dtype)
        if is_last:
            frames = frames.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        for is_backward in (False, True):
            yield choose_variant(frames, precision, maps, is_backward=is_backward)


def main(argv: Optional[list] = None) -> None:
    parser = new_parser(__doc__, device=False)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args(argv)
    machine = dict(
        environment('cpu'), device='no GPU, compiled ahead of time', nvrtc=nvrtc_version()
    )
    programs = [count(each, c) for c in CAPABILITIES for each in variants()]
    show('programs', programs)
    write_report(args.out, machine, 'environment')
    write_report(args.out, programs, 'programs')


if __name__ == '__main__':
    main()
