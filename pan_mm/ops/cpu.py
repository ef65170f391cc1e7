"""Persistence of Appearance for processors: oneDNN convolutions in blocks, no compiler needed.

A convolution from 3 to 8 channels leaves most of a vector unit idle. In channels-last memory two
neighboring columns of 3 channels *are* one column of 6 (a view, no copy), and two neighboring
outputs of K filters are one output of 2K; only the filters have to be rewritten, as 2K filters of
size k × (k + 1) / 2 over 2C channels. They hold (k + 1) / k times the products, and oneDNN runs
them near its best rate.

Large frames are taken pair by pair and their features in bands of rows, small ones several pairs
together, since threads meet after each operator. The sum of squares is a product with a vector of
ones: PyTorch's norms over a short dimension are several times slower than the convolution itself.
"""

from collections.abc import Iterator, Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .raw_frames import fold_std

# Pixels of a band: 2 ** 16 pixels of 8 float32 features are 2 MiB; smaller bands gain nothing.
# Several threads get bands of 8 times the pixels: on a machine with other work each meeting waits
# for a thread that is not running.
BAND_PIXELS = 2**16


def _band_pixels() -> int:
    return BAND_PIXELS if torch.get_num_threads() == 1 else 8 * BAND_PIXELS


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to convolve in for a wish: half precision only where the processor has units."""
    if dtype == torch.bfloat16 and has_bfloat16_units():
        return dtype
    return torch.promote_types(dtype, torch.float32)


def has_bfloat16_units() -> bool:
    """Tell whether this processor multiplies bfloat16 itself; others are far slower with it."""
    probes = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    std: Optional[Sequence[float]],
) -> Tensor:
    """Motion maps of shape (B, m - 1, H, W) in ``dtype``, convolved at ``precision`` or above."""
    weight = fold_std(weight, std).to(compute_dtype(precision))
    batch, num_frames, _, height, width = frames.shape
    num_filters, _, size, _ = weight.shape
    folded = _fold_filters(weight)
    wide = width + width % 2
    accumulate = torch.promote_types(weight.dtype, torch.float32)
    maps = torch.empty(batch, num_frames - 1, height, wide, dtype=accumulate)
    ones = torch.ones(num_filters, dtype=accumulate)
    for samples, steps, differences in _blocks(frames, weight):
        for rows in _bands(height, width):
            features = _features(differences, folded, rows, eps)
            band = maps[samples, steps, rows].view(-1)
            torch.mv(features.mul_(features), ones, out=band)
    return maps.sqrt_()[..., :width].to(dtype).contiguous()


def backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    needs_frames: bool,
    needs_weight: bool,
    std: Optional[Sequence[float]],
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """Gradients of the frames and the filters (None where not needed), features recomputed."""
    filters_dtype = weight.dtype
    weight = fold_std(weight, std).to(compute_dtype(precision))
    height, width = frames.shape[-2:]
    num_filters, channels, size, _ = weight.shape
    folded = _fold_filters(weight)
    accumulate = torch.promote_types(weight.dtype, torch.float32)
    grad_maps = F.pad(grad_maps.to(accumulate), (0, width % 2))
    ones = torch.ones(num_filters, dtype=accumulate)
    grad_folded = torch.zeros_like(folded, dtype=accumulate)
    grad_frames = torch.zeros(frames.shape, dtype=accumulate) if needs_frames else None
    for samples, steps, differences in _blocks(frames, weight):
        grad_differences = torch.zeros_like(differences) if needs_frames else None
        columns = differences.shape[-1] - size // 2
        for rows in _bands(height, width):
            features = _features(differences, folded, rows, eps)  # (h·W, K)
            maps = torch.mv(features * features, ones).sqrt_()
            scale = grad_maps[samples, steps, rows].reshape(-1) / maps
            scale.masked_fill_(maps == 0, 0)  # the norm's subgradient at zero
            grad_features = features.mul_(scale[:, None]).to(weight.dtype)
            seen = _seen_by(rows, size)
            grad_seen, grad_band, _ = torch.ops.aten.convolution_backward(
                grad_features.view(len(differences), -1, columns, 2 * num_filters)
                .permute(0, 3, 1, 2),
                differences[:, :, seen], folded, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
                [needs_frames, needs_weight, False],
            )  # fmt: skip
            if needs_weight:
                grad_folded += grad_band
            if needs_frames:
                grad_differences[:, :, seen] += grad_seen
        if needs_frames:
            inner = _inside(grad_differences, height, width, channels, size // 2)
            inner = inner.unflatten(0, (-1, steps.stop - steps.start))
            grad_frames[samples, steps] += inner
            grad_frames[samples, steps.start + 1 : steps.stop + 1] -= inner
    grad_weight = None
    if needs_weight:
        grad_weight = fold_std(_unfold_filters(grad_folded, weight), std).to(filters_dtype)
    return grad_frames.to(frames.dtype) if needs_frames else None, grad_weight


def _fold_filters(weight: Tensor) -> Tensor:
    """(K, C, k, k) → (2K, 2C, k, (k + 1) / 2): filters that see two columns at once."""
    num_filters, channels, size, _ = weight.shape
    even = F.pad(weight, (0, 1))  # seen from the left of the two outputs
    odd = F.pad(weight, (1, 0))  # from the right one
    folded = torch.stack([even, odd]).view(2 * num_filters, channels, size, -1, 2)
    folded = folded.permute(0, 4, 1, 2, 3).flatten(1, 2)  # input channels: (column, C)
    return folded.contiguous(memory_format=torch.channels_last)


def _unfold_filters(folded: Tensor, weight: Tensor) -> Tensor:
    """The transpose of :func:`_fold_filters`, for gradients."""
    num_filters, channels, size, _ = weight.shape
    even, odd = (
        folded.reshape(2, num_filters, 2, channels, size, -1)
        .permute(0, 1, 3, 4, 5, 2)
        .reshape(2, num_filters, channels, size, size + 1)
    )
    return (even[..., :-1] + odd[..., 1:]).contiguous()


def _blocks(frames: Tensor, weight: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Padded differences of the pairs that a band holds, two columns folded into one.

    Yields samples, steps, and of these n pairs (n, 2C, H + k - 1, ⌈W / 2⌉ + (k - 1) / 2): one
    pair of large frames, or all pairs of several samples of small ones. One buffer for all.
    """
    batch, num_frames, channels, height, width = frames.shape
    num_pairs = num_frames - 1
    padding = weight.shape[-1] // 2
    columns = (width + 1) // 2 + padding
    together = _band_pixels() // 2 // (height * width * num_pairs)  # samples in a block
    size = min(together, batch) * num_pairs or 1
    buffer = torch.zeros(size, height + 2 * padding, columns, 2 * channels, dtype=weight.dtype)
    differences = buffer.permute(0, 3, 1, 2)  # channels-last
    inner = _inside(differences, height, width, channels, padding)
    if together:
        for start in range(0, batch, together):
            some = _signed(frames[start : start + together], weight)
            count = len(some) * num_pairs
            out = inner[:count].unflatten(0, (-1, num_pairs))
            torch.sub(some[:, :-1], some[:, 1:], out=out)
            yield slice(start, start + len(some)), slice(0, num_pairs), differences[:count]
        return
    for sample in range(batch):
        following = _signed(frames[sample, 0], weight)
        for step in range(num_pairs):
            current, following = following, _signed(frames[sample, step + 1], weight)
            torch.sub(current, following, out=inner[0])
            yield slice(sample, sample + 1), slice(step, step + 1), differences


def _signed(frames: Tensor, weight: Tensor) -> Tensor:
    """Frames to subtract, no narrower than they come: the difference is rounded, not the frames."""
    return frames.to(torch.promote_types(frames.dtype, weight.dtype))


def _inside(folded: Tensor, height: int, width: int, channels: int, padding: int) -> Tensor:
    """The (n, C, H, W) view of a folded, padded, channels-last buffer, without its padding."""
    pixels = folded.permute(0, 2, 3, 1).unflatten(-1, (2, channels)).flatten(2, 3)
    pixels = pixels.permute(0, 3, 1, 2)
    return pixels[:, :, padding : padding + height, padding : padding + width]


def _bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows of nearly equal height, with about the pixels of a band."""
    count = -(-height * width // _band_pixels())
    rows = -(-height // count)
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def _seen_by(rows: slice, size: int) -> slice:
    """Rows of the padded difference that the filters of a band see."""
    return slice(rows.start, rows.stop + size - 1)


def _features(differences: Tensor, folded: Tensor, rows: slice, eps: float) -> Tensor:
    """Features plus eps of a band, shape (h·W, K), in float32 or wider."""
    bias = folded.new_full((folded.shape[0],), eps)
    features = F.conv2d(differences[:, :, _seen_by(rows, folded.shape[2])], folded, bias)
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features.permute(0, 2, 3, 1).reshape(-1, folded.shape[0] // 2)
