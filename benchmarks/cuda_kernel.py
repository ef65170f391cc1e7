#!/usr/bin/env python3
"""Count the cost of PA's CUDA kernels, without a GPU: registers, spills, instructions.

    python -m benchmarks.cuda_kernel --out results/performance/cuda_kernel.json

Programs for compute capability 8.0, 9.0 and 10.0 are compiled by NVRTC and taken apart. An output
is an element of a map; instructions are those that a warp starts. ``barriers`` in the file is what
`nox -s barriers` has found, and stays.
"""

import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import torch

from pan_mm.ops.cuda import MARGIN, Variant, choose_variant, compile_program

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


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str


def disassemble(code: bytes, kernel: str) -> list:
    """Take a kernel of a program apart, by NVIDIA's tool, which comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(code)
        file.flush()
        command = [tool, '-sass', '-fun', kernel, file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = r'^\s+/\*([0-9a-f]{4,5})\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)(.*?);'
    return [Instruction(int(a, 16), name, rest) for a, name, rest in re.findall(line, text, re.M)]


def loops(instructions: list) -> Iterator[list]:
    """The loops that hold no other one."""
    spans = []
    for place in instructions:
        target = place.name.startswith('BRA') and re.search(r'0x([0-9a-f]+)', place.operands)
        if target and int(target[1], 16) < place.address:
            spans.append((int(target[1], 16), place.address))
    for begin, end in spans:
        if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in spans):
            yield [i for i in instructions if begin <= i.address <= end]


def passes(loop: list, variant: Variant) -> float:
    """Count the runs of a loop by a warp for a tile."""
    if any(i.name.startswith('HMMA') for i in loop):
        return variant.tile_height / (2 if variant.backward else 8)
    if any(i.name.startswith(('LDG', 'STS')) for i in loop) and not variant.backward:
        return _runs(variant) / variant.threads('forward')
    staging = any(i.name.startswith('STS') for i in loop) or variant.difference_pieces > 1
    return _runs(variant) / variant.threads('backward') if staging else 0


def _runs(variant: Variant) -> int:
    return (variant.tile_height + 2 * MARGIN) * (variant.tile_width + 16) // 8


def count(variant: Variant, capability: tuple) -> dict:
    """One row of the report."""
    kernel = 'backward' if variant.backward else 'forward'
    logs = io.StringIO()
    code = compile_program(variant, capability, logs=logs).code
    log = logs.getvalue().partition(f"entry function '{kernel}'")[2]
    instructions = disassemble(code, kernel)
    once = 0 if variant.backward else 1  # a pass of each loop is among all instructions
    started = once * len(instructions)
    started += sum((passes(loop, variant) - once) * len(loop) for loop in loops(instructions))
    warps = variant.threads(kernel) / 32
    outputs = variant.tile_width * variant.tile_height
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
        instructions_per_output=round(started * warps / outputs, 2),
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
