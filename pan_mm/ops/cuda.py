"""Persistence of Appearance by the CUDA kernels of ``persistence.cu``, compiled where they run.

NVRTC and the driver, which come with PyTorch's CUDA wheels, are called through NVIDIA's package
``cuda-core``: no compiler is needed. Its cache keeps programs. A forward call starts two kernels, a
backward call three, whatever the dtype of the filters; no operator of PyTorch is among them, and
nothing is copied from the host.
"""

import functools
from collections.abc import Callable, Sequence
from ctypes import c_float, c_int
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from . import plain
from .kernels import filters_obstacle, on_device

MAX_FILTERS, MAX_CHANNELS = 8, 3
SHARES = 64  # blocks that look for the largest gradient
PLANAR, INTERLEAVED, ANY = range(3)
DTYPES = {
    torch.uint8: 'uint8',
    torch.float16: 'float16',
    torch.bfloat16: 'bfloat16',
    torch.float32: 'float32',
}
MARGIN = 3  # rows above and below a tile that its outputs see
SOURCES = ('primitives.cuh', 'persistence.cu')


def obstacle(frames: Tensor, weight: Tensor) -> Optional[str]:
    """Why these kernels cannot take these tensors, None where they can."""
    if not {frames.dtype, weight.dtype} <= DTYPES.keys():
        return f'takes no frames of {frames.dtype} with filters of {weight.dtype}'
    return filters_obstacle(weight, MAX_FILTERS, MAX_CHANNELS)


def forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    std: Optional[Sequence[float]] = None,
) -> Tensor:
    """Motion maps of shape (B, m - 1, H, W) in ``dtype``, multiplied at ``precision``."""
    batch, num_frames, _, height, width = frames.shape
    maps = frames.new_empty((batch, num_frames - 1, height, width), dtype=dtype)
    if not batch:  # a grid needs blocks
        return maps
    variant = choose_variant(frames, precision, dtype, weight.dtype)
    fragments = _prepare(variant, weight, std)
    with on_device(frames):
        load('forward', variant, frames.device)(
            (batch * variant.tiles(height, width), num_frames - 1),
            *_pointers(maps, frames, fragments),
            *frames.stride(),
            *map(c_int, (num_frames, height, width, len(weight))),
            c_float(eps),
        )
    return maps


def backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    needs_frames: bool,
    needs_weight: bool,
    std: Optional[Sequence[float]] = None,
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """Gradients of the frames and the filters (None where not needed), features recomputed.

    The gradient of the frames, which no training of PAN asks for, is plain PyTorch's in float32.
    """
    grad_frames = grad_weight = None
    if needs_frames:
        grad_frames, _ = plain.backward(
            grad_maps, frames, weight.float(), eps, torch.float32, True, False, std
        )
    if needs_weight:
        grad_weight = _filters_gradient(grad_maps, frames, weight, eps, precision, std)
    return grad_frames, grad_weight


def _filters_gradient(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    std: Optional[Sequence[float]],
) -> Tensor:
    batch, num_frames, channels, height, width = frames.shape
    num_filters, _, size, _ = weight.shape
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    if not batch:
        return grad_weight.zero_()
    variant = choose_variant(frames, precision, grad_maps.dtype, weight.dtype, is_backward=True)
    grad_maps = grad_maps.contiguous()
    fragments = _prepare(variant, weight, std, grad_maps)
    with on_device(frames):
        kernel = load('backward', variant, frames.device)
        units = batch * (num_frames - 1) * variant.tiles(height, width)
        blocks = min(units, kernel.capacity)
        partial = frames.new_empty((blocks, 7 * channels, 128), dtype=torch.float32)
        kernel(
            (blocks, 1),
            *_pointers(partial, grad_maps, frames, fragments),
            *frames.stride(),
            *map(c_int, (batch, num_frames, height, width, num_filters)),
            c_float(eps),
            c_int(SHARES),
        )
        load('reduce', variant, frames.device)(
            (7 * channels, 1),
            *_pointers(grad_weight, partial),
            *map(c_int, (blocks, num_filters, size)),
            *_deviations(std),
        )
    return grad_weight


class Variant(NamedTuple):
    """Kind of tensors that a program is compiled for: the macros of ``persistence.cu``."""

    frame: str
    weight: str
    map: str
    product: str
    channels: int
    layout: int
    difference_pieces: int
    filter_pieces: int
    tile_width: int
    tile_height: int
    blocks: int
    backward: int

    @property
    def macros(self) -> list:
        """Names and values of the macros."""
        return [(name.upper(), str(value)) for name, value in self._asdict().items()]

    @property
    def fragments(self) -> int:
        """Words of the filters."""
        return self.filter_pieces * 7 * self.channels * 2 * 32

    def tiles(self, height: int, width: int) -> int:
        """Tiles of a map; the first begins at column -1."""
        return -(-height // self.tile_height) * -(-(width + 1) // self.tile_width)

    def threads(self, kernel: str) -> int:
        """Threads of a block."""
        return dict(prepare=256, reduce=128).get(kernel, 2 * self.tile_width)

    def shared_bytes(self, kernel: str) -> int:
        """Shared memory of a block."""
        if kernel == 'reduce':
            return 4 * 128
        if kernel == 'prepare':
            return 4 * (MAX_FILTERS * self.channels * 49 + 1)
        row = (self.tile_width + 16) // 2
        pieces = self.difference_pieces * self.channels
        return 4 * (pieces * (self.tile_height + 2 * MARGIN) * row + 1)


def choose_variant(
    frames: Tensor,
    precision: torch.dtype,
    maps: torch.dtype,
    filters: torch.dtype = torch.float32,
    is_backward: bool = False,
) -> Variant:
    """The variant for frames (B, m, C, H, W), products at ``precision``, maps and filters.

    Differences of uint8 are exact in float16, whatever is asked for.
    """
    product, pieces = DTYPES[precision], (1, 1)
    if frames.dtype == torch.uint8:
        product, pieces = 'float16', (1, 2 if precision == torch.float32 else 1)
    elif precision == torch.float32:
        product, pieces = 'float16', (2, 2)
    tile = (64, 32, 2 if max(pieces) > 1 else 3)
    if not is_backward:
        tile = (64, 32, 3) if max(pieces) > 1 else (80, 32, 4)
    dtypes = DTYPES[frames.dtype], DTYPES[filters], DTYPES[maps], product
    kind = frames.shape[2], layout_of(frames)
    return Variant(*dtypes, *kind, *pieces, *tile, int(is_backward))


def layout_of(frames: Tensor) -> int:
    """PLANAR or INTERLEAVED where eight pixels can be loaded at once, else ANY."""
    stride_b, stride_t, stride_c, stride_h, stride_w = frames.stride()
    aligned = frames.data_ptr() % 16 == 0
    if not aligned or any(n % 8 for n in (stride_b, stride_t, stride_h, frames.shape[4])):
        return ANY
    if stride_w == 1 and stride_c % 8 == 0:
        return PLANAR
    return INTERLEAVED if (stride_c, stride_w) == (1, frames.shape[2]) else ANY


def _prepare(
    variant: Variant,
    weight: Tensor,
    std: Optional[Sequence[float]],
    grad_maps: Optional[Tensor] = None,
) -> Tensor:
    """The filters as fragments, their power of two, and the largest magnitudes of gradients."""
    weight = weight.contiguous()
    shares = 0 if grad_maps is None else SHARES
    fragments = weight.new_empty(variant.fragments + 1 + shares, dtype=torch.int32)
    gradients, count = (0, 0) if grad_maps is None else (grad_maps.data_ptr(), grad_maps.numel())
    with on_device(weight):
        load('prepare', variant, weight.device)(
            (1 + shares, 1),
            *_pointers(fragments, weight),
            *map(c_int, (len(weight), weight.shape[-1])),
            *_deviations(std),
            gradients,
            count,
        )
    return fragments


def _pointers(*tensors: Tensor) -> list:
    return [tensor.data_ptr() for tensor in tensors]


def _deviations(std: Optional[Sequence[float]]) -> list:
    values = [1.0] * MAX_CHANNELS if std is None else [*std, 1.0, 1.0][:MAX_CHANNELS]
    return [c_float(value) for value in values]


# ---- Compiling and starting


def source() -> str:
    """The text of the program."""
    return '\n'.join(Path(__file__).with_name(name).read_text('utf-8') for name in SOURCES)


def compile_program(
    variant: Variant, capability: tuple, cache: Any = None, logs: Any = None
) -> Any:
    """Machine code (``cuda.core.ObjectCode``) of a variant for a compute capability from (8, 0).

    ``cache`` keeps programs; ``logs``, a text file, gets registers and spills of each kernel.
    """
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        arch=f'sm_{capability[0]}{capability[1]}',
        std='c++17',
        define_macro=variant.macros,
        ptxas_options='-v' if logs else None,
    )
    return Program(source(), 'c++', options).compile('cubin', logs=logs, cache=cache)


class Kernel:
    """A kernel of ``persistence.cu`` on a GPU, which runs ``capacity`` blocks of it at a time."""

    def __init__(self, name: str, variant: Variant, device: torch.device) -> None:
        from cuda.core import Device

        Device(device.index).set_current()  # until the caller's `on_device` ends
        self._kernel = _program(variant, device).get_kernel(name)
        self._block = variant.threads(name)
        self._shared = variant.shared_bytes(name)
        blocks = self._kernel.occupancy.max_active_blocks_per_multiprocessor(
            self._block, self._shared
        )
        processors = torch.cuda.get_device_properties(device).multi_processor_count
        self.capacity = max(blocks, 1) * processors

    def __call__(self, grid: tuple, *arguments: Any) -> None:
        """Start it on the current stream; integers are 64 bits wide, others ``ctypes``."""
        from cuda.core import LaunchConfig, launch

        config = LaunchConfig(grid=grid, block=self._block, shmem_size=self._shared)
        launch(Stream(torch.cuda.current_stream().cuda_stream), config, self._kernel, *arguments)


class Stream(NamedTuple):
    """A stream as ``cuda-core`` takes it from others; the one of PyTorch 2.8 lacks this."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle  # the version of the protocol comes first


@functools.cache
def _program(variant: Variant, device: torch.device) -> Any:
    from cuda.core.utils import FileStreamProgramCache

    capability = torch.cuda.get_device_capability(device)
    try:
        with FileStreamProgramCache() as cache:
            return compile_program(variant, capability, cache)
    except OSError:  # no home, or one that cannot be written
        return compile_program(variant, capability)


load: Callable = functools.cache(Kernel)
