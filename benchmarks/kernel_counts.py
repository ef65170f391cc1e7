#!/usr/bin/env python3
"""Compile PA's Triton kernels for GPUs that need not be here, and count what a GPU would run.

    python -m benchmarks.kernel_counts --out results/performance/kernels_triton-VERSION.json

Triton brings NVIDIA's assembler and disassembler. It counts for each kernel registers, spilled
ones, shared memory, the widths of loads from global memory, matrix instructions, and warp
instructions per output: of 'features' all, of 'filters' its loop, for all rows of one channel, of
'frames' all, the loop as often as it runs. Counts are not times. Takes twenty minutes.
"""

import argparse
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import torch

from .timing import environment, show, write_report

CAPABILITIES = (90, 80, 100)
# (frames, precision) pairs for which pan_mm.ops.gpu compiles different kernels.
DTYPES = (
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16),
    (torch.uint8, torch.float16),
    (torch.uint8, torch.float32),
    (torch.float32, torch.float32),
)
_NAMES = {
    torch.float32: 'fp32',
    torch.float16: 'fp16',
    torch.bfloat16: 'bf16',
    torch.uint8: 'u8',
}


def compile_kernel(
    name: str,
    frames: torch.dtype,
    precision: torch.dtype,
    capability: int,
    num_filters: int = 8,
    size: int = 7,
    backward: bool = False,
) -> tuple[Any, dict]:
    """A kernel for frames (B, 4, 3, 224, 224), and the settings that it was compiled with."""
    from triton import compile as compile_triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pan_mm.ops import gpu

    some = torch.empty(1, 4, 3, 224, 224, dtype=frames)
    weight = torch.ones(num_filters, 3, size, size)
    toeplitz, scale = gpu.prepare(some, weight, precision)
    settings = gpu.settings(name, some, weight, toeplitz, capability)
    kernel = gpu.KERNELS[name]
    product = _NAMES[toeplitz.dtype]
    features = product if len(toeplitz) == 1 else 'fp32'
    pointers = dict(
        frames=_NAMES[frames],
        toeplitz=product,
        turned=product,
        grad_features=features,
        grad_frames=_NAMES[frames],
        partial='fp32',
        out=features if backward else _NAMES[precision],
        grad_maps=_NAMES[precision] if backward else None,
        scale=None if scale is None else 'fp32',
        grad_scale='fp32' if scale is not None and (backward or name == 'frames') else None,
    )
    options = {key: settings[key] for key in ('num_warps', 'num_stages')}
    constants = {key: value for key, value in settings.items() if key in kernel.arg_names}
    signature, attributes = {}, {}
    for index, argument in enumerate(kernel.arg_names):
        if argument in constants or pointers.get(argument, '') is None:
            signature[argument] = 'constexpr'
            constants.setdefault(argument, None)
        elif argument in pointers:
            signature[argument] = '*' + pointers[argument]
            attributes[(index,)] = [['tt.divisibility', 16]]
        else:
            signature[argument] = 'fp32' if argument == 'eps' else 'i32'
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    target = GPUTarget('cuda', capability, 32)
    return compile_triton(source, target=target, options=options), settings


def cuobjdump(code: bytes, *options: str) -> str:
    """What NVIDIA's tool, which comes with Triton, prints of machine code."""
    import triton

    tool = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(code)
        file.flush()
        command = [tool, *options, file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def instructions_of(text: str) -> list:
    """Instructions (address, name, operands) in what :func:`cuobjdump` prints."""
    lines = re.findall(
        r'^\s+/\*([0-9a-f]{4,5})\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)(.*?);', text, re.MULTILINE
    )
    return [(int(address, 16), name, rest) for address, name, rest in lines]


def disassemble(compiled: Any) -> tuple[list, int]:
    """Instructions of a kernel, and its registers."""
    code = compiled.asm['cubin']
    instructions = instructions_of(cuobjdump(code, '-sass'))
    while instructions and instructions[-1][1] in ('NOP', 'BRA'):  # padding of the last line
        instructions.pop()
    return instructions, int(re.search(r'REG:(\d+)', cuobjdump(code, '-res-usage'))[1])


def loop(instructions: list) -> list:
    """The instructions of the longest loop, all where there is none."""
    loops = [instructions]
    for address, name, rest in instructions:
        target = name == 'BRA' and re.search(r'0x([0-9a-f]+)', rest)
        if target and int(target[1], 16) < address:
            loops.append([i for i in instructions if int(target[1], 16) <= i[0] <= address])
    return max(loops[1:], key=len, default=instructions)


def count(
    name: str, frames: torch.dtype, precision: torch.dtype, capability: int, **kwargs
) -> dict:
    """One row of the report; arguments as of :func:`compile_kernel`."""
    compiled, settings = compile_kernel(name, frames, precision, capability, **kwargs)
    instructions, registers = disassemble(compiled)
    kinds = Counter(instruction.split('.')[0] for _, instruction, _ in instructions)
    run, passes = _executed(name, instructions, settings)
    matrix = {k: n for k, n in kinds.items() if re.fullmatch(r'HMMA|HGMMA|UTC\w*MMA', k)}
    return dict(
        kernel=name + (', backward' if kwargs.get('backward') else ''),
        capability=capability / 10,
        frames=str(frames)[6:],
        precision=str(precision)[6:],
        filters=kwargs.get('num_filters', 8),
        size=kwargs.get('size', 7),
        registers=registers,
        spills=kinds['STL'] + kinds['LDL'],
        shared_bytes=compiled.metadata.shared,
        loads=_widths(instructions),
        matrix_instructions=sum(matrix.values()),
        matrix_kind=next(iter(matrix), ''),
        atomics=sum(kinds[kind] for kind in ('ATOM', 'ATOMG', 'RED', 'REDG')),
        instructions_per_output=round(
            len(run) * settings['num_warps'] * passes / (8 * settings['BLOCK']), 2
        ),
    )


def _executed(name, instructions, settings):
    """Instructions of a program, and how often it runs them."""
    body = loop(instructions)
    if name == 'filters':
        return body, settings['ROWS'] // settings['STEP']
    if name == 'frames' and body != instructions:
        return instructions + body * (settings['ROWS'] - 1), 1
    return instructions, 1


def _widths(instructions):
    """Loads from global memory by their width in bits."""
    widths = Counter()
    for _, instruction, _ in instructions:
        if instruction.startswith('LDG'):
            width = re.search(r'\.[US]?(128|64|8|16)\b', instruction)
            widths[width[1] if width else '32'] += 1
    return dict(sorted(widths.items(), key=lambda item: int(item[0])))


def variants(capability: int) -> list:
    """Arguments of :func:`count` for all that the report shows of a capability."""
    rows = []
    for frames, precision in DTYPES:
        rows.append(dict(name='features', frames=frames, precision=precision))
        rows.append(dict(rows[-1], backward=True))
        rows.append(dict(name='filters', frames=frames, precision=precision))
        if frames != torch.uint8:
            rows.append(dict(rows[-1], name='frames'))
    for size, num_filters in ((3, 8), (5, 8), (7, 16)):
        for frames, precision in (DTYPES[0], DTYPES[2]):
            some = dict(frames=frames, precision=precision, size=size, num_filters=num_filters)
            rows.append(dict(some, name='features'))
    return [dict(row, capability=capability) for row in rows]


def main(argv: Optional[list] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument('--capabilities', type=int, nargs='+', default=CAPABILITIES)
    args = parser.parse_args(argv)
    if os.environ.get('TRITON_INTERPRET') == '1':
        parser.error('TRITON_INTERPRET is set: kernels would not be compiled; unset it')
    machine = dict(environment('cpu'), device='no GPU, compiled ahead of time')
    report = dict(environment=machine, kernels=[])
    for capability in args.capabilities:
        for variant in variants(capability):
            report['kernels'].append(count(**variant))
            if args.out:
                write_report(args.out, report)
    show('kernels', report['kernels'])


if __name__ == '__main__':
    main()
