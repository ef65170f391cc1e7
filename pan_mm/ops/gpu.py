"""Persistence of Appearance for CUDA in Triton: matrix products, no feature map in memory.

**Cells.** The convolution becomes a product for the tensor cores. A *cell* is 8 × 1 outputs, at
x = 8j − 4 … 8j + 3 of a row. Filters of up to 7 × 7 see columns 8j − 8 … 8j + 7 from there, a
window that starts at a multiple of 8: a thread loads 8 pixels at once (128 bits in 16-bit dtypes,
64 of uint8) with one mask. Per channel

    (cells, rows · 16 differences)  ·  (rows · 16, 8 · K)

gives all K features of the 8 outputs. The right side holds each filter 8 times, one column farther
for each output and zero elsewhere: a Toeplitz matrix, which a small kernel writes in each call. Its
zeros cost 16 / 7 of the products, which tensor cores have to spare; gathering windows would cost
instructions, which they lack. The norm is taken while the product is in registers: forward reads
frames, writes maps and nothing else.

**Backward** holds one intermediate, the features' gradient, in cells and in the dtype of the
products, of a few samples at a time. The filters' gradient is the transposed product of it and the
differences; each program writes a partial sum. The frames' gradient is the same convolution again
with the filters turned round, gathered by each pixel. Nothing is added up in an order that varies,
so results are the same from run to run.

**Dtypes.** Sums are float32. Differences of uint8 are exact in float16, whatever is asked for. Two
filters in float16 then give what float32 would: one rounded, one that holds the rest. Filters,
above all those divided by the deviation of raw frames, are too small for float16, and gradients
under a loss scale too large: both are multiplied by a power of two, which rounds nothing, and the
result divided by it. float32 frames are multiplied as three products of TF32.

``TRITON_INTERPRET=1`` runs the same kernels on the CPU.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .kernels import filters_obstacle, on_device

COLUMNS, OUTPUTS = 16, 8  # width of a window, of a cell
MAX_FILTERS, MAX_CHANNELS = 16, 8
PROGRAMS = 256  # partial sums of a channel's filters' gradient
CHUNK = 2**24  # most features whose gradient is held at a time

# How kernels run, by the dtype of the products: cells of a block, rows of a window in a product,
# warps of a program. Features in 16 bits: the fastest on an H200 (`tuning` in results/performance/
# motion_h200-*.json). The others are chosen among their neighbors: no spilled registers in 16 bits,
# then fewest instructions.
TILES = {
    'features': {
        torch.float16: (64, 2, 4),
        torch.bfloat16: (64, 2, 4),
        torch.uint8: (64, 8, 4),
        torch.float32: (64, 4, 4),
    },
    'filters': {
        torch.float16: (64, 8, 8),
        torch.bfloat16: (64, 8, 8),
        torch.uint8: (64, 8, 8),
        torch.float32: (32, 4, 4),
    },
    'frames': {
        torch.float16: (64, 1, 4),
        torch.bfloat16: (64, 1, 4),
        torch.float32: (32, 1, 4),
    },
}
AMPERE_FLOAT32 = (32, 2, 4)  # 'features' in float32 below compute capability 9.0

_TRITON_DTYPE = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}


def obstacle(frames: Tensor, weight: Tensor) -> Optional[str]:
    """Why these kernels cannot take these tensors, None where they can."""
    if reason := filters_obstacle(weight, MAX_FILTERS, MAX_CHANNELS):
        return reason
    if torch.float64 in (frames.dtype, weight.dtype):
        return 'has no float64'
    return None


def forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    std: Optional[Sequence[float]] = None,
) -> Tensor:
    """Motion maps of shape (B, m - 1, H, W) in ``dtype``, multiplied at ``precision``.

    No operator of PyTorch starts a kernel, and nothing is copied from the host.
    """
    batch, num_frames, _, height, width = frames.shape
    maps = frames.new_empty((batch, num_frames - 1, height, width), dtype=dtype)
    toeplitz, scale = _filled(frames, weight, precision, std)
    launch = _launcher(frames, weight, toeplitz)
    arguments = (toeplitz, scale, len(weight), eps, *_arguments(frames))
    launch('features', batch * (num_frames - 1), maps, None, None, *arguments)
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
    """Gradients of the frames and the filters (None where not needed), features recomputed."""
    batch, num_frames, _, height, width = frames.shape
    toeplitz, scale = _filled(frames, weight, precision, std)
    grad_maps = grad_maps.contiguous()
    grad_scale = _power_of_two(grad_maps) if toeplitz.dtype == torch.float16 else None
    size = (num_frames - 1) * height * _cells_per_row(width) * toeplitz[0, 0, 0, 0].numel()
    samples = max(1, min(batch, CHUNK // size))
    dtype = toeplitz.dtype if len(toeplitz) == 1 else torch.float32
    grad_features = frames.new_empty((samples, size), dtype=dtype)
    grad_frames = turned = None
    if needs_frames:
        grad_frames = torch.empty_like(frames, memory_format=torch.contiguous_format)
        turned = _turned(frames, weight, precision, toeplitz.shape[-1])
    programs = min(PROGRAMS, samples * (num_frames - 1) * height)
    partial = frames.new_empty((programs, *toeplitz.shape[1:]), dtype=torch.float32)
    grad_toeplitz = torch.zeros_like(partial[0])
    for start in range(0, batch, samples):
        some = frames[start : start + samples]
        pairs = len(some) * (num_frames - 1)
        launch = _launcher(some, weight, toeplitz)
        launch(
            'features', pairs, grad_features, grad_maps[start : start + samples], grad_scale,
            toeplitz, scale, len(weight), eps, *_arguments(some),
        )  # fmt: skip
        if needs_weight:
            launch('filters', pairs, partial, grad_features, *_arguments(some))
            grad_toeplitz += partial.sum(0)
        if needs_frames:
            launch(
                'frames', len(some) * num_frames, grad_frames[start : start + samples],
                grad_features, turned, scale, grad_scale, num_frames, height, width,
            )  # fmt: skip
    if not needs_weight:
        return grad_frames, None
    grad_weight = _taps(grad_toeplitz, weight.shape[-1])[..., : len(weight)].sum(-2)
    if grad_scale is not None:
        grad_weight = grad_weight / grad_scale
    if std is not None:
        torch._foreach_div_(grad_weight.unbind(), list(std))  # one launch, without a copy
    return grad_frames, grad_weight.permute(3, 0, 1, 2).contiguous()


def prepare(frames: Tensor, weight: Tensor, precision: torch.dtype) -> tuple:
    """Make room for Toeplitz matrices and the power of two in them, None for 1.

    Returns:
        tuple: Matrices of shape (pieces, C, rows, 16, 8, F), what a column of the window gives to
        an output; rows and F, the filters, are powers of two. And a float32 tensor of shape (1,).
    """
    num_filters, channels, size, _ = weight.shape
    rows, filters = (triton.next_power_of_2(n) for n in (size, max(num_filters, 4)))
    exact = frames.dtype == torch.uint8
    pieces = 2 if exact and precision == torch.float32 else 1
    shape = (pieces, channels, rows, COLUMNS, OUTPUTS, filters)
    toeplitz = weight.new_empty(shape, dtype=torch.float16 if exact else precision)
    scaled = toeplitz.dtype == torch.float16
    return toeplitz, weight.new_empty(1, dtype=torch.float32) if scaled else None


def _filled(
    frames: Tensor, weight: Tensor, precision: torch.dtype, std: Optional[Sequence[float]] = None
) -> tuple:
    """Fill what :func:`prepare` makes room for with the filters, divided by ``std``."""
    toeplitz, scale = prepare(frames, weight, precision)
    pieces, channels, rows, _, _, filters = toeplitz.shape
    constants = dict(
        CHANNELS=channels,
        SIZE=weight.shape[-1],
        ROWS=rows,
        FILTERS=filters,
        PIECES=pieces,
        DTYPE=_TRITON_DTYPE[toeplitz.dtype],
    )
    std = None if std is None else tuple(std)
    with on_device(frames):
        KERNELS['toeplitz'][(channels * rows,)](
            toeplitz, scale, weight, std, *weight.stride(), len(weight), **constants
        )
    return toeplitz, scale


def _taps(toeplitz: Tensor, size: int) -> Tensor:
    """View (C, k, k, 8, F) of a Toeplitz matrix: the taps of each output.

    Tap s of output o sees column o + s + 4 − ⌊k / 2⌋ of the window.
    """
    channels, _, _, outputs, filters = toeplitz.shape
    channel, row, column, output, _ = toeplitz.stride()
    return toeplitz.as_strided(
        (channels, size, size, outputs, filters),
        (channel, row, column, column + output, 1),
        (outputs // 2 - size // 2) * column,
    )


def _turned(frames: Tensor, weight: Tensor, precision: torch.dtype, filters: int) -> Tensor:
    """Filters for the way back, (rows, 16, F, C', 8): they lead from features to channels."""
    turned, _ = _filled(frames, weight.flip(2, 3).transpose(0, 1), precision)
    turned = turned[0].permute(1, 2, 0, 4, 3)  # of (K, rows, 16, 8, C')
    return F.pad(turned, (0, 0, 0, 0, 0, filters - len(weight))).contiguous()


def _power_of_two(tensor: Tensor) -> Tensor:
    """The power of two, 2 ** ±40 at most, that brings the largest magnitude to 128 … 256."""
    largest = torch.linalg.vector_norm(tensor, float('inf'), dtype=torch.float32).view(1)
    exponent = largest.view(torch.int32) >> 23  # as float32 stores it, 127 too large
    return ((127 + 7 + 127 - exponent).clamp(127 - 40, 127 + 40) << 23).view(torch.float32)


def _cells_per_row(width: int) -> int:
    return triton.cdiv(width + OUTPUTS // 2, OUTPUTS)


def _arguments(frames: Tensor) -> tuple:
    return frames, *frames.stride(), frames.shape[1], *frames.shape[3:]


def settings(name: str, frames: Tensor, weight: Tensor, toeplitz: Tensor, capability: int) -> dict:
    """Key of a compiled kernel, the same for any number of such frames.

    Args:
        name (str): 'features', 'filters' or 'frames'.
        frames (Tensor): Shape (B, m, C, H, W).
        weight (Tensor): Shape (K, C, k, k).
        toeplitz (Tensor): What :func:`prepare` makes of them.
        capability (int): Compute capability times ten, 90 of 9.0.
    """
    _, _, channels, height, width = frames.shape
    pieces, _, rows, _, _, filters = toeplitz.shape
    *outer, stride_h, stride_w = frames.stride()
    farthest = max(height * stride_h + width * stride_w, height * (width + 12) * filters)
    aligned = stride_w == 1 and not any(n % 8 for n in (*outer, stride_h, width))
    exact = frames.dtype == torch.uint8
    block, step, warps = TILES[name][torch.uint8 if exact else toeplitz.dtype]
    if name == 'features' and toeplitz.dtype == torch.float32 and capability < 90:
        block, step, warps = AMPERE_FLOAT32
    if filters > 8 and name == 'features':  # twice the sums, so twice the registers
        warps *= 2
    constants = dict(
        CHANNELS=channels,
        SIZE=weight.shape[-1],
        ROWS=rows,
        FILTERS=filters,
        PIECES=pieces,
        DTYPE=_TRITON_DTYPE[toeplitz.dtype],
        PACKED=2 if exact and aligned else 1,  # pixels of a word
        ALIGNED=aligned,  # whether 8 pixels are contiguous wherever a window starts
        WIDE=farthest >= 2**31,  # whether offsets in a frame need 64 bits; all others do
        OUT=max(triton.next_power_of_2(channels), 4),
        STEP=min(step, rows),
        BLOCK=block,
    )
    known = {key: value for key, value in constants.items() if key in KERNELS[name].arg_names}
    return dict(known, num_warps=warps, num_stages=1)


def _launcher(frames: Tensor, weight: Tensor, toeplitz: Tensor) -> Callable:
    """A function that runs a kernel: its name, how many maps or frames it is about, arguments."""
    capability = 90
    if frames.is_cuda:
        major, minor = torch.cuda.get_device_capability(frames.device)
        capability = 10 * major + minor
    height, width = frames.shape[3:]

    def launch(name: str, units: int, *args: Any) -> None:
        options = settings(name, frames, weight, toeplitz, capability)
        cells = height * (triton.cdiv(width, 8) if name == 'frames' else _cells_per_row(width))
        grid: tuple = (units * triton.cdiv(cells, options['BLOCK']),)
        if name == 'filters':
            partial = args[0]
            grid = (len(partial), len(partial[0]) * partial.shape[2] // options['STEP'])
            args = (*args[:2], units * triton.cdiv(cells, options['BLOCK']), *args[2:])
        with on_device(frames):
            KERNELS[name][grid](*args, **options)

    return launch


# Do not compile again for another batch size: no integer is specialized.
_INTEGERS = (
    'num_filters', 'units', 'num_frames', 'height', 'width',
    'stride_b', 'stride_t', 'stride_c', 'stride_h', 'stride_w',
)  # fmt: skip


def _jit(kernel):
    names = [name for name in _INTEGERS if name in inspect.signature(kernel).parameters]
    return triton.jit(kernel, do_not_specialize=names)


@triton.jit
def _cells(
    frames, unit, stride_b, stride_t, num_frames, height, width,
    ALIGNED: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """For a block of cells: first frame, pair, block in the pair, row y and place j of each cell.

    Cells past the end are below the frame.
    """
    per_row = (width + 11) // 8
    blocks = tl.cdiv(per_row * height, BLOCK)
    pair, block = (unit // blocks).to(tl.int64), unit % blocks
    offset = pair // (num_frames - 1) * stride_b + pair % (num_frames - 1) * stride_t
    if ALIGNED:  # a multiple of 8, said so that the compiler sees it
        offset = offset // 8 * 8
    cell = block * BLOCK + tl.arange(0, BLOCK)
    y, j = cell // per_row, cell % per_row
    if WIDE:
        y, j = y.to(tl.int64), j.to(tl.int64)
    return frames + offset, pair, block, y, j


@triton.jit
def _windows(
    frame, channel, stride_t, stride_c, stride_h, stride_w, top, j, height, width,
    ROWS: tl.constexpr, PACKED: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Each cell's window of a channel in two frames, (BLOCK, ROWS · 16 / PACKED), 0 off the frame.

    PACKED pixels make a word.
    """
    WORDS: tl.constexpr = 16 // PACKED
    stride_t, stride_c = stride_t.to(tl.int64), stride_c.to(tl.int64)
    pointer = frame + channel * stride_c
    if ALIGNED:  # multiples of 8, said so that the compiler sees it
        pointer = frame + channel * (stride_c // 8 * 8)
        stride_t, stride_h = stride_t // 8 * 8 // PACKED, stride_h // 8 * 8 // PACKED
        stride_w, width = 1, width // 8 * 8 // PACKED
    if PACKED == 2:
        pointer = pointer.to(tl.pointer_type(tl.uint16), bitcast=True)
    tap = tl.arange(0, ROWS * WORDS)
    row = top[:, None] + (tap // WORDS)[None, :]
    column = (j * (WORDS // 2) - WORDS // 2)[:, None] + (tap % WORDS)[None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pointer += row * stride_h + column * stride_w
    current = tl.load(pointer, mask=inside, other=0)
    return current, tl.load(pointer + stride_t, mask=inside, other=0)


@triton.jit
def _differences(current, following, part: tl.constexpr, PACKED: tl.constexpr, DTYPE: tl.constexpr):
    """Differences of the pixels at a place in their words."""
    if PACKED == 2:
        current, following = current >> 8 * part & 255, following >> 8 * part & 255
    if current.dtype.is_int():  # 0x6400 is 1024 in float16, and its last bits count ones
        current = (current.to(tl.uint16) | 0x6400).to(tl.float16, bitcast=True)
        following = (following.to(tl.uint16) | 0x6400).to(tl.float16, bitcast=True)
    return (current - following).to(DTYPE)


@triton.jit
def _value(pointer):
    """Look up the target of a pointer; 1 where there is none."""
    return 1.0 if pointer is None else tl.load(pointer)


@triton.jit
def _taps_of(
    weight, channel, std, stride_f, stride_c, stride_h, stride_w, f, y, x, num_filters,
    SIZE: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Taps (y, x) of filters f for a channel, over its deviation; zero where there are none."""
    known = (f < num_filters) & (y >= 0) & (y < SIZE) & (x >= 0) & (x < SIZE)
    pointer = weight + channel * stride_c + f * stride_f + y * stride_h + x * stride_w
    taps = tl.load(pointer, mask=known, other=0).to(tl.float32)
    if std is not None:
        deviation = 1.0
        for other in tl.static_range(CHANNELS):
            deviation = tl.where(channel == other, std[other], deviation)
        taps = taps / deviation
    return taps


@_jit
def _toeplitz_kernel(
    toeplitz, scale, weight, std, stride_f, stride_c, stride_h, stride_w, num_filters,
    CHANNELS: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, FILTERS: tl.constexpr,
    PIECES: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """A channel's row of filters as a matrix: tap s of output o in column o + s + 4 − ⌊k / 2⌋.

    With ``scale``, multiplied by the power of two, 2 ** ±40 at most, that brings the largest
    magnitude of all filters to 128 … 256.
    """
    f = tl.arange(0, FILTERS)[None, None, :]
    factor = 1.0
    if scale is not None:
        largest = 0.0
        y, x = tl.arange(0, ROWS)[:, None, None], tl.arange(0, ROWS)[None, :, None]
        for channel in tl.static_range(CHANNELS):
            taps = _taps_of(
                weight, channel, std, stride_f, stride_c, stride_h, stride_w, f, y, x,
                num_filters, SIZE, CHANNELS,
            )  # fmt: skip
            largest = tl.maximum(largest, tl.max(tl.abs(taps)))
        # As stored, 127 too large.
        exponent = largest.to(tl.int32, bitcast=True) >> 23  # type: ignore[attr-defined]
        exponent = tl.minimum(tl.maximum(127 + 7 + 127 - exponent, 127 - 40), 127 + 40)
        factor = (exponent << 23).to(tl.float32, bitcast=True)
        if tl.program_id(0) == 0:
            tl.store(scale, factor)
    channel, row = tl.program_id(0) // ROWS, tl.program_id(0) % ROWS
    column, output = tl.arange(0, 16)[:, None, None], tl.arange(0, 8)[None, :, None]
    taps = factor * _taps_of(
        weight, channel, std, stride_f, stride_c, stride_h, stride_w, f, row,
        column - output - (4 - SIZE // 2), num_filters, SIZE, CHANNELS,
    )  # fmt: skip
    out = toeplitz + ((tl.program_id(0) * 16 + column) * 8 + output) * FILTERS + f
    for piece in tl.static_range(PIECES):
        rounded = taps.to(DTYPE)
        tl.store(out + piece * (CHANNELS * ROWS * 16 * 8 * FILTERS), rounded)
        taps -= rounded.to(tl.float32)


@_jit
def _features_kernel(
    out, grad_maps, grad_scale, toeplitz, scale, num_filters, eps, frames, stride_b, stride_t,
    stride_c, stride_h, stride_w, num_frames, height, width, CHANNELS: tl.constexpr,
    SIZE: tl.constexpr, ROWS: tl.constexpr, FILTERS: tl.constexpr, PIECES: tl.constexpr,
    DTYPE: tl.constexpr, PACKED: tl.constexpr, ALIGNED: tl.constexpr, WIDE: tl.constexpr,
    STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of cells of one pair: its maps, or with ``grad_maps`` its features' gradient."""
    frame, pair, block, y, j = _cells(
        frames, tl.program_id(0), stride_b, stride_t, num_frames, height, width, ALIGNED, WIDE,
        BLOCK,
    )  # fmt: skip
    n = tl.arange(0, 8 * FILTERS)
    features = tl.zeros((BLOCK, 8 * FILTERS), dtype=tl.float32)
    for index in tl.static_range(CHANNELS * ROWS // STEP):
        channel, top = index // (ROWS // STEP), index % (ROWS // STEP) * STEP
        current, following = _windows(
            frame, channel, stride_t, stride_c, stride_h, stride_w, y + (top - SIZE // 2), j,
            height, width, STEP, PACKED, ALIGNED,
        )  # fmt: skip
        for part in tl.static_range(PACKED):
            differences = _differences(current, following, part, PACKED, DTYPE)
            for piece in tl.static_range(PIECES):
                row = (piece * CHANNELS + channel) * ROWS + top
                tap = row * 16 + part + tl.arange(0, STEP * 16 // PACKED) * PACKED
                filters = tl.load(toeplitz + tap[:, None] * (8 * FILTERS) + n[None, :])
                features = tl.dot(differences, filters, features, input_precision='tf32x3')
    factor = _value(scale)
    known = tl.arange(0, FILTERS)[None, None, :] < num_filters
    features = tl.reshape(features, (BLOCK, 8, FILTERS)) + tl.where(known, eps * factor, 0.0)
    norm = tl.sqrt(tl.sum(features * features, axis=2))  # (BLOCK, 8)
    x = (j * 8 - 4)[:, None] + tl.arange(0, 8)[None, :]
    exists = (y < height)[:, None] & (x >= 0) & (x < width)
    offset = pair * height * width + (y[:, None] * width + x)
    if grad_maps is None:
        tl.store(out + offset, norm * (1.0 / factor), mask=exists)  # a power of two: exact
    else:
        grad = tl.load(grad_maps + offset, mask=exists, other=0).to(tl.float32)
        # A norm of zero has the subgradient zero.
        ratio = tl.where(norm > 0, grad * _value(grad_scale) / norm, 0.0)
        cells = (width + 11) // 8 * height
        cell = block * BLOCK + tl.arange(0, BLOCK)
        base = out + (pair * cells + block * BLOCK) * (8 * FILTERS)
        offset = tl.arange(0, BLOCK)[:, None] * (8 * FILTERS) + n[None, :]
        grad_features = tl.reshape(features * ratio[:, :, None], (BLOCK, 8 * FILTERS))
        tl.store(base + offset, grad_features, mask=(cell < cells)[:, None])


@_jit
def _filters_kernel(
    partial, grad_features, units, frames, stride_b, stride_t, stride_c, stride_h, stride_w,
    num_frames, height, width, CHANNELS: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr,
    FILTERS: tl.constexpr, PIECES: tl.constexpr, DTYPE: tl.constexpr, PACKED: tl.constexpr,
    ALIGNED: tl.constexpr, WIDE: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (p, i): the gradient of a channel's rows of filters, over every P-th block."""
    program, index = tl.program_id(0), tl.program_id(1)
    channel, top = index // (ROWS // STEP), index % (ROWS // STEP) * STEP
    cells = (width + 11) // 8 * height
    n = tl.arange(0, 8 * FILTERS)
    sums = tl.zeros((STEP * 16, 8 * FILTERS), dtype=tl.float32)
    unit = program
    while unit < units:
        frame, pair, block, y, j = _cells(
            frames, unit, stride_b, stride_t, num_frames, height, width, ALIGNED, WIDE, BLOCK
        )
        current, following = _windows(
            frame, channel, stride_t, stride_c, stride_h, stride_w, y + (top - SIZE // 2), j,
            height, width, STEP, PACKED, ALIGNED,
        )  # fmt: skip
        differences = _differences(current, following, 0, PACKED, DTYPE)
        if PACKED == 2:
            second = _differences(current, following, 1, PACKED, DTYPE)
            differences = tl.reshape(tl.join(differences, second), (BLOCK, STEP * 16))
        cell = block * BLOCK + tl.arange(0, BLOCK)
        base = grad_features + (pair * cells + block * BLOCK) * (8 * FILTERS)
        offset = tl.arange(0, BLOCK)[:, None] * (8 * FILTERS) + n[None, :]
        grad = tl.load(base + offset, mask=(cell < cells)[:, None], other=0)
        for _ in tl.static_range(PIECES):
            piece = grad.to(DTYPE)
            sums = tl.dot(tl.trans(differences), piece, sums, input_precision='tf32x3')
            grad = grad - piece
        unit += tl.num_programs(0)
    tap = (channel * ROWS + top) * 16 + tl.arange(0, STEP * 16)[:, None]
    base = partial + program.to(tl.int64) * (CHANNELS * ROWS * 16 * 8 * FILTERS)
    tl.store(base + tap * (8 * FILTERS) + n[None, :], sums)


@_jit
def _frames_kernel(
    grad_frames, grad_features, turned, scale, grad_scale, num_frames, height, width,
    CHANNELS: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, FILTERS: tl.constexpr,
    DTYPE: tl.constexpr, WIDE: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of 8 pixels, from x = 8j on, for each cell of a block.

    They gather from columns 8j − 4 … 8j + 11, which are the cells j and j + 1 of ``grad_features``,
    side by side in memory: of the pair that begins with this frame less the one that ends with it.
    """
    per_row, stored = (width + 7) // 8, (width + 11) // 8
    blocks = tl.cdiv(per_row * height, BLOCK)
    frame = (tl.program_id(0) // blocks).to(tl.int64)
    sample, step = frame // num_frames, frame % num_frames
    cell = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    y, j = cell // per_row, cell % per_row
    if WIDE:
        y, j = y.to(tl.int64), j.to(tl.int64)
    plane = height.to(tl.int64) * stored * (8 * FILTERS)
    base = grad_features + (sample * (num_frames - 1) + step) * plane
    # Existing rows of a pair: none before the first frame and after the last.
    next_rows, last_rows = tl.where(step < num_frames - 1, height, 0), tl.where(step > 0, height, 0)
    tap = tl.arange(0, 16 * FILTERS)
    n = tl.arange(0, OUT * 8)
    sums = tl.zeros((BLOCK, OUT * 8), dtype=tl.float32)
    for index in range(ROWS):
        row = y + (index - SIZE // 2)
        inside = (row >= 0)[:, None] & (j[:, None] + (tap // (8 * FILTERS))[None, :] < stored)
        pointer = base + ((row * stored + j)[:, None] * (8 * FILTERS) + tap[None, :])
        begins = tl.load(pointer, mask=inside & (row < next_rows)[:, None], other=0)
        ends = tl.load(pointer - plane, mask=inside & (row < last_rows)[:, None], other=0)
        filters = tl.load(turned + (index * 16 * FILTERS + tap)[:, None] * (OUT * 8) + n[None, :])
        sums = tl.dot((begins - ends).to(DTYPE), filters, sums, input_precision='tf32x3')
    channel, x = n // 8, (j * 8)[:, None] + (n % 8)[None, :]
    exists = (y < height)[:, None] & (x < width) & (channel < CHANNELS)[None, :]
    plane = (frame * CHANNELS + channel) * height * width
    offset = plane[None, :] + (y[:, None] * width + x)
    unscale = 1.0 / _value(scale) / _value(grad_scale)
    tl.store(grad_frames + offset, sums * unscale, mask=exists)


KERNELS = dict(
    toeplitz=_toeplitz_kernel,
    features=_features_kernel,
    filters=_filters_kernel,
    frames=_frames_kernel,
)
