"""Persistence of Appearance for CUDA: one Triton kernel each way, no feature map in memory.

The convolution becomes matrix products for the tensor cores. A *cell* is 2 × 2 outputs; together
they see a window of 8 × 8 inputs (for 7 × 7 filters), so per channel

    (cells, 64 differences)  ·  (64, 4 · 8 filters, shifted and padded with zeros)

gives the features of all four outputs. The window spends 64 / 49 of the products and makes every
size a power of two. Differences are taken while the window is loaded, the norm while the product
is still in registers: frames are read, maps are written, nothing else is.

Backward computes the features again and sums the filters' gradient in registers over many blocks
of cells; each program writes one partial sum. The frames' gradient, rarely wanted, is added up
with atomics, so its last bits depend on their order.

``TRITON_INTERPRET=1`` runs the same kernels on the CPU.
"""

from contextlib import nullcontext
from typing import Optional

import torch
import triton
import triton.language as tl
from torch import Tensor

# How a block is run, by dtype: cells per block and warps per program. With these no kernel spills
# registers when compiled for compute capability 9.0; benchmark_motion.py tries others.
LAUNCH = {
    torch.float32: dict(BLOCK=64, num_warps=8),
    torch.float16: dict(BLOCK=64, num_warps=8),
    torch.bfloat16: dict(BLOCK=64, num_warps=8),
}
# Products of float32: 'ieee', or 'tf32x3' (three tensor-core products, about as exact).
FLOAT32_PRECISION = 'ieee'
BACKWARD_PROGRAMS = 512  # partial sums of the filters' gradient, per channel

_TRITON_DTYPE = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to multiply in for a wish; sums are float32 in any case."""
    return dtype if dtype in LAUNCH else torch.float32


def forward(frames: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Motion maps of shape (B, m - 1, H, W) in ``dtype``, products in the dtype of ``weight``."""
    batch, num_frames, _, height, width = frames.shape
    maps = torch.empty(batch, num_frames - 1, height, width, dtype=dtype, device=frames.device)
    launch = LAUNCH[weight.dtype]
    blocks = _num_blocks(height, width, launch['BLOCK'])
    with _on(frames):
        _forward_kernel[(batch * (num_frames - 1) * blocks,)](
            maps, *_arguments(frames, weight, eps), **_constants(weight), **launch
        )
    return maps


def backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    needs_frames: bool,
    needs_weight: bool,
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """Gradients of the frames and the filters (None where not needed), features recomputed."""
    batch, num_frames, channels, height, width = frames.shape
    num_filters, _, size, _ = weight.shape
    constants = _constants(weight)
    launch = LAUNCH[weight.dtype]
    units = batch * (num_frames - 1) * _num_blocks(height, width, launch['BLOCK'])
    programs = min(units, BACKWARD_PROGRAMS)
    window, filters = constants['WINDOW'], constants['FILTERS']
    partial = frames.new_empty(
        (programs, channels, window, window, 2, 2, filters), dtype=torch.float32
    )
    grad_differences = frames.new_zeros(
        (batch, num_frames - 1, channels, height, width) if needs_frames else 1,
        dtype=torch.float32,
    )
    with _on(frames):
        _backward_kernel[(programs, channels)](
            grad_maps.contiguous(),
            partial,
            grad_differences,
            units,
            *_arguments(frames, weight, eps),
            NEEDS_FRAMES=needs_frames,
            num_stages=1,  # a pipeline of several windows does not fit into shared memory
            **constants,
            **launch,
        )
    grad_frames = grad_weight = None
    if needs_frames:
        grad_frames = torch.zeros_like(frames, dtype=torch.float32)
        grad_frames[:, :-1] += grad_differences
        grad_frames[:, 1:] -= grad_differences
        grad_frames = grad_frames.to(frames.dtype)
    if needs_weight:
        grad_window = partial.sum(0)  # (C, window, window, 2, 2, K)
        grad_weight = sum(
            grad_window[:, row : row + size, column : column + size, row, column, :num_filters]
            for row in (0, 1)
            for column in (0, 1)
        )
        grad_weight = grad_weight.permute(3, 0, 1, 2).to(weight.dtype)
    return grad_frames, grad_weight


def _num_blocks(height: int, width: int, block: int) -> int:
    return triton.cdiv(triton.cdiv(height, 2) * triton.cdiv(width, 2), block)


def _on(frames: Tensor):
    return torch.cuda.device(frames.device) if frames.is_cuda else nullcontext()


def _arguments(frames: Tensor, weight: Tensor, eps: float) -> tuple:
    _, num_frames, _, height, width = frames.shape
    return (
        frames,
        weight.contiguous(),
        *frames.stride(),
        num_frames,
        height,
        width,
        weight.shape[0],
        eps,
    )


def _constants(weight: Tensor) -> dict:
    num_filters, channels, size, _ = weight.shape
    return dict(
        CHANNELS=channels,
        SIZE=size,
        WINDOW=max(triton.next_power_of_2(size + 1), 4),
        FILTERS=max(triton.next_power_of_2(num_filters), 4),
        DTYPE=_TRITON_DTYPE[weight.dtype],
        # The interpreter (3.9) multiplies the bits of bfloat16 as integers.
        PRECISION=FLOAT32_PRECISION if weight.is_cuda else 'upcast',
    )


@triton.jit
def _cells(block, height, width, BLOCK: tl.constexpr):
    """Top and left output of each cell of a block; cells past the end lie below the frame."""
    cell = block * BLOCK + tl.arange(0, BLOCK)
    cells_per_row = (width + 1) // 2
    return cell // cells_per_row * 2, cell % cells_per_row * 2


@triton.jit
def _differences(
    frame, stride_t, stride_h, stride_w, top, left, height, width,
    SIZE: tl.constexpr, WINDOW: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Window of differences of each cell, one channel, (BLOCK, WINDOW²); zero off the frame."""
    tap = tl.arange(0, WINDOW * WINDOW)
    row = top[:, None] + (tap // WINDOW)[None, :] - SIZE // 2
    column = left[:, None] + (tap % WINDOW)[None, :] - SIZE // 2
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pointer = frame + row * stride_h + column * stride_w
    current = tl.load(pointer, mask=inside, other=0).to(tl.float32)
    following = tl.load(pointer + stride_t, mask=inside, other=0).to(tl.float32)
    return (current - following).to(DTYPE)


@triton.jit
def _filters(
    weight, channel, num_filters,
    CHANNELS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr, FILTERS: tl.constexpr,
):  # fmt: skip
    """Filters of one channel, shifted for each output of a cell, (WINDOW², 4 · FILTERS)."""
    tap = tl.arange(0, WINDOW * WINDOW)[:, None]
    output = tl.arange(0, 4 * FILTERS)[None, :] // FILTERS
    index = tl.arange(0, 4 * FILTERS)[None, :] % FILTERS
    row = tap // WINDOW - output // 2
    column = tap % WINDOW - output % 2
    known = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE) & (index < num_filters)
    pointer = weight + ((index * CHANNELS + channel) * SIZE + row) * SIZE + column
    return tl.load(pointer, mask=known, other=0)


@triton.jit
def _product(left, right, sums, PRECISION: tl.constexpr):
    if PRECISION == 'upcast':
        sums = tl.dot(left.to(tl.float32), right.to(tl.float32), sums)
    else:
        sums = tl.dot(left, right, sums, input_precision=PRECISION)
    return sums


@triton.jit
def _features(
    frame, weight, stride_t, stride_c, stride_h, stride_w, top, left, height, width, num_filters,
    eps, CHANNELS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr, FILTERS: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Feature differences plus eps of each cell's four outputs, (BLOCK, 4, FILTERS), float32."""
    features = tl.zeros((BLOCK, 4 * FILTERS), dtype=tl.float32)
    for channel in tl.static_range(CHANNELS):
        differences = _differences(
            frame + channel * stride_c, stride_t, stride_h, stride_w, top, left, height, width,
            SIZE, WINDOW, DTYPE,
        )  # fmt: skip
        filters = _filters(weight, channel, num_filters, CHANNELS, SIZE, WINDOW, FILTERS)
        features = _product(differences, filters, features, PRECISION)
    known = tl.arange(0, FILTERS)[None, None, :] < num_filters
    return tl.reshape(features, (BLOCK, 4, FILTERS)) + tl.where(known, eps, 0.0)


@triton.jit
def _map_offsets(top, left, height, width):
    """Where each cell's outputs lie in a map, and which of them exist, (BLOCK, 4)."""
    output = tl.arange(0, 4)[None, :]
    row = top[:, None] + output // 2
    column = left[:, None] + output % 2
    return row * width + column, (row < height) & (column < width)


@triton.jit
def _forward_kernel(
    maps, frames, weight, stride_b, stride_t, stride_c, stride_h, stride_w, num_frames, height,
    width, num_filters, eps, CHANNELS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr,
    FILTERS: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(tl.cdiv(height, 2) * tl.cdiv(width, 2), BLOCK)
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    sample, step = pair // (num_frames - 1), pair % (num_frames - 1)
    frame = frames + sample * stride_b + step * stride_t
    top, left = _cells(tl.program_id(0) % blocks, height, width, BLOCK)
    features = _features(
        frame, weight, stride_t, stride_c, stride_h, stride_w, top, left, height, width,
        num_filters, eps, CHANNELS, SIZE, WINDOW, FILTERS, DTYPE, PRECISION, BLOCK,
    )  # fmt: skip
    norm = tl.sqrt(tl.sum(features * features, axis=2))  # (BLOCK, 4)
    offsets, exists = _map_offsets(top, left, height, width)
    tl.store(maps + pair * height * width + offsets, norm, mask=exists)


@triton.jit
def _backward_kernel(
    grad_maps, partial, grad_differences, units, frames, weight, stride_b, stride_t, stride_c,
    stride_h, stride_w, num_frames, height, width, num_filters, eps, CHANNELS: tl.constexpr,
    SIZE: tl.constexpr, WINDOW: tl.constexpr, FILTERS: tl.constexpr, DTYPE: tl.constexpr,
    PRECISION: tl.constexpr, NEEDS_FRAMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (p, c): the gradient of channel c's filters over every P-th block of cells."""
    program, channel = tl.program_id(0), tl.program_id(1)
    blocks = tl.cdiv(tl.cdiv(height, 2) * tl.cdiv(width, 2), BLOCK)
    grad_filters = tl.zeros((WINDOW * WINDOW, 4 * FILTERS), dtype=tl.float32)
    for unit in range(program, units, tl.num_programs(0)):
        pair = (unit // blocks).to(tl.int64)
        sample, step = pair // (num_frames - 1), pair % (num_frames - 1)
        frame = frames + sample * stride_b + step * stride_t
        top, left = _cells(unit % blocks, height, width, BLOCK)
        features = _features(
            frame, weight, stride_t, stride_c, stride_h, stride_w, top, left, height, width,
            num_filters, eps, CHANNELS, SIZE, WINDOW, FILTERS, DTYPE, PRECISION, BLOCK,
        )  # fmt: skip
        norm = tl.sqrt(tl.sum(features * features, axis=2))
        offsets, exists = _map_offsets(top, left, height, width)
        grad = tl.load(grad_maps + pair * height * width + offsets, mask=exists, other=0)
        # A norm of zero has the subgradient zero.
        scale = tl.where(norm > 0, grad.to(tl.float32) / tl.where(norm > 0, norm, 1.0), 0.0)
        grad_features = tl.reshape(features * scale[:, :, None], (BLOCK, 4 * FILTERS)).to(DTYPE)
        differences = _differences(
            frame + channel * stride_c, stride_t, stride_h, stride_w, top, left, height, width,
            SIZE, WINDOW, DTYPE,
        )  # fmt: skip
        grad_filters = _product(tl.trans(differences), grad_features, grad_filters, PRECISION)
        if NEEDS_FRAMES:
            filters = _filters(weight, channel, num_filters, CHANNELS, SIZE, WINDOW, FILTERS)
            grad_window = tl.zeros((BLOCK, WINDOW * WINDOW), dtype=tl.float32)
            grad_window = _product(grad_features, tl.trans(filters), grad_window, PRECISION)
            tap = tl.arange(0, WINDOW * WINDOW)
            row = top[:, None] + (tap // WINDOW)[None, :] - SIZE // 2
            column = left[:, None] + (tap % WINDOW)[None, :] - SIZE // 2
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            plane = grad_differences + (pair * CHANNELS + channel) * height * width
            tl.atomic_add(plane + row * width + column, grad_window, mask=inside)
    tap = tl.arange(0, WINDOW * WINDOW)[:, None]
    column = tl.arange(0, 4 * FILTERS)[None, :]
    base = partial + (program * CHANNELS + channel) * (WINDOW * WINDOW * 4 * FILTERS)
    tl.store(base + tap * (4 * FILTERS) + column, grad_filters)
