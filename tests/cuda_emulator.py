"""The kernels of ``persistence.cu`` on a processor, compiled by g++ and started as on a GPU."""

import ctypes
import functools
import hashlib
import subprocess
from pathlib import Path
from typing import Any

from pan_mm.ops import cuda
from pan_mm.ops.cuda import Variant

HEADER = Path(__file__).with_name('cuda_on_cpu.hpp')
SOURCE = Path(cuda.__file__).with_name('persistence.cu').read_text('utf-8')
BARRIER = '__syncthreads();'
ORDERS = ('first', 'last', 'middle')  # of warps, named by WARPS in the environment
FAULTS = {1: 'threads wait for ever', 2: 'threads write behind their shared memory'}
CAPACITY = 3  # blocks at a time: fewer than there are tiles, so that blocks take several

MAIN = """
extern "C" int launch(const char* name, int x, int y, int threads, int bytes, void** values) {
  const std::string wanted = name;
  if (wanted == "prepare") return emulator::launch(prepare, {x, y, 1}, threads, bytes, values);
#if BACKWARD
  if (wanted == "backward") return emulator::launch(backward, {x, y, 1}, threads, bytes, values);
  if (wanted == "reduce") return emulator::launch(reduce, {x, y, 1}, threads, bytes, values);
#else
  if (wanted == "forward") return emulator::launch(forward, {x, y, 1}, threads, bytes, values);
#endif
  return 3;
}
"""


@functools.cache
def compile_for_cpu(source: str, variant: Variant, folder: Path) -> ctypes.CDLL:
    """Compile the kernels of ``source`` for a processor; the library stays in ``folder``."""
    text = f'#include "{HEADER}"\n{source}{MAIN}'
    macros = [f'-D{name}={value}' for name, value in variant.macros]
    name = hashlib.sha256(f'{text}{macros}'.encode()).hexdigest()[:16]
    library = folder / f'{name}.so'
    options = ['-O1', '-std=c++17', '-shared', '-fPIC', '-Wno-unknown-pragmas', *macros]
    command = ['g++', *options, '-x', 'c++', '-', '-o', str(library)]
    subprocess.run(command, input=text.encode(), check=True)
    return ctypes.CDLL(str(library))


class EmulatedKernel:
    """Stands in for ``pan_mm.ops.cuda.Kernel``."""

    def __init__(self, name: str, variant: Variant, library: ctypes.CDLL) -> None:
        self.name, self.variant, self.library = name, variant, library
        self.capacity = CAPACITY

    def __call__(self, grid: tuple, *arguments: Any) -> None:
        assert min(grid) >= 1, f'{self.name}: a grid of {grid}'
        values = [ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        threads, shared = self.variant.threads(self.name), self.variant.shared_bytes(self.name)
        fault = self.library.launch(self.name.encode(), *grid, threads, shared, pointers)
        assert not fault, f'{self.name}: {FAULTS[fault]}'


class Emulator:
    """Takes the place of ``pan_mm.ops.cuda.load``; ``started`` are the kernels that ran."""

    def __init__(self, folder: Path, source: str = SOURCE) -> None:
        self.folder, self.source = folder, source
        self.started: list = []

    def __call__(self, name: str, variant: Variant, device: Any) -> EmulatedKernel:
        self.started.append(name)
        library = compile_for_cpu(self.source, variant, self.folder)
        return EmulatedKernel(name, variant, library)
