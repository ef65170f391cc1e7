"""The one entry to Persistence of Appearance; chooses how it is computed."""

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode

from . import cpu
from .raw_frames import fold_std
from .reference import frame_differences, persistence_reference
from .selection import fastest_backend, free_memory

BACKENDS = ('auto', 'reference', 'cpu', 'triton')


def persistence_of_appearance(
    frames: Tensor,
    weight: Tensor,
    eps: float = 1e-6,
    std: Optional[Sequence[float]] = None,
    backend: str = 'auto',
) -> Tensor:
    """PA_t(x, y) = ‖F_t(x, y) − F_{t+1}(x, y) + ε‖₂ for each pair of adjacent frames.

    Args:
        frames (Tensor): Frames of shape (B, m, C, H, W), m >= 2, any strides. Normalized and
            floating point, or raw uint8 together with ``std``.
        weight (Tensor): Filters of the shallow convolution, shape (K, C, k, k), k odd.
        eps (float): Added to each feature difference before the norm. Defaults to 1e-6.
        std (Sequence[float], optional): Standard deviation of each channel, in the units of the
            raw frames. Normalization is then folded into the filters: the mean cancels in a
            difference. Required for uint8 frames, and only for them. Defaults to None.
        backend (str): 'reference' (plain PyTorch), 'cpu' (blocks for oneDNN), 'triton' (fused
            kernel for CUDA), or 'auto', the best of them for these tensors: see
            :func:`select_backend`. All agree within rounding. Only 'reference' can be
            differentiated twice. Defaults to 'auto'.

    Returns:
        Tensor: Maps of shape (B, m - 1, H, W) in the dtype of ``frames``, of ``weight`` for uint8.

    Raises:
        ValueError: If shapes, dtypes, devices or ``std`` do not fit the above, or the backend is
            unknown.
        RuntimeError: If the backend asked for cannot run on these tensors.

    Example:
        >>> frames, weight = torch.rand(2, 4, 3, 32, 32), torch.rand(8, 3, 7, 7)
        >>> persistence_of_appearance(frames, weight).shape
        torch.Size([2, 3, 32, 32])
    """
    _check(frames, weight, std)
    if backend != 'auto' and not torch.compiler.is_compiling():
        select_backend(frames, weight, backend)  # reports at once what is wrong
    dtype = frames.dtype if frames.is_floating_point() else weight.dtype
    precision = _autocast_dtype(frames.device) or weight.dtype
    plain = backend == 'reference' or (
        backend == 'auto' and (_wants_plain(weight) or _prefers_plain(frames, weight, precision))
    )
    if plain:
        return persistence_reference(frames, fold_std(weight, std), eps)
    # Small filters and large gradients need float32 here, whatever the precision of products.
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    std = None if std is None else [float(value) for value in std]
    if not _wants_operator(frames, weight):
        args = (frames, weight, eps, precision, dtype, std)
        return _run('forward', backend, frames, weight, precision, args)
    return _persistence(frames, weight, eps, precision, dtype, backend, std)


def select_backend(frames: Tensor, weight: Tensor, backend: str = 'auto') -> str:
    """Name the path that :func:`persistence_of_appearance` takes for these tensors.

    'auto' is the path that was the fastest in the records of ``results/performance``: 'cpu' on
    processors where PyTorch has oneDNN, and 'triton' on NVIDIA GPUs of compute capability 8.0 and
    above where Triton is installed and has a kernel for these filters, else 'reference'.
    Floating-point frames that are multiplied in float32 (not under autocast) take 'reference' on
    a GPU, where it is faster, unless with backward it would need more than a third of the memory
    that was free when frames of this shape first came.

    It is 'reference', too, for float64, and where plain operators are wanted (ONNX,
    ``torch.jit.trace``, ``torch.func``). ``torch.compile`` and ``torch.export`` keep the choice
    for when they run: they hold one operator, ``pan_mm::persistence``.

    Args:
        frames (Tensor): Frames of shape (B, m, C, H, W).
        weight (Tensor): Filters of shape (K, C, k, k).
        backend (str): 'auto', or the name of a path to insist on. Defaults to 'auto'.

    Returns:
        str: 'reference', 'cpu' or 'triton'.

    Raises:
        ValueError: If the backend is unknown.
        RuntimeError: If the backend asked for cannot run on these tensors.
    """
    return _select(frames, weight, backend, _autocast_dtype(frames.device) or weight.dtype)


def _select(frames: Tensor, weight: Tensor, backend: str, precision: torch.dtype) -> str:
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    if backend in ('cpu', 'triton'):
        obstacle = _obstacle(backend, frames, weight)
        if obstacle:
            raise RuntimeError(f"backend {backend!r} {obstacle}; use backend='auto'")
        return backend
    if backend == 'reference' or _wants_plain(weight):
        return 'reference'
    preferred = _preferred(frames, weight, precision)
    if preferred == 'cpu':
        return 'cpu' if torch.backends.mkldnn.is_available() else 'reference'
    if preferred == 'triton':
        obstacle = _obstacle('triton', frames, weight)
        if obstacle is None:
            return 'triton'
        if not _unusable:  # a warning has reported it
            _say_once(f'PA is computed by plain PyTorch operators: the kernel {obstacle}')
    return 'reference'


@torch.library.custom_op(
    'pan_mm::persistence',
    mutates_args=(),
    schema='(Tensor frames, Tensor weight, float eps, ScalarType precision, ScalarType dtype, '
    'str backend, float[]? std=None) -> Tensor',
)
def _persistence(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    backend: str,
    std: Optional[Sequence[float]] = None,
) -> Tensor:
    args = (frames, weight, eps, precision, dtype, std)
    return _run('forward', backend, frames, weight, precision, args)


@torch.library.custom_op(
    'pan_mm::persistence_backward',
    mutates_args=(),
    schema='(Tensor grad_maps, Tensor frames, Tensor weight, float eps, ScalarType precision, '
    'bool needs_frames, bool needs_weight, str backend, float[]? std=None) -> Tensor[]',
)
def _persistence_backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    needs_frames: bool,
    needs_weight: bool,
    backend: str,
    std: Optional[Sequence[float]] = None,
) -> list[Tensor]:
    args = (grad_maps, frames, weight, eps, precision, needs_frames, needs_weight, std)
    grads = _run('backward', backend, frames, weight, precision, args)
    return [grad for grad in grads if grad is not None]


@_persistence.register_fake
def _(frames, weight, eps, precision, dtype, backend, std=None):
    batch, num_frames, _, height, width = frames.shape
    return frames.new_empty((batch, num_frames - 1, height, width), dtype=dtype)


@_persistence_backward.register_fake
def _(grad_maps, frames, weight, eps, precision, needs_frames, needs_weight, backend, std=None):
    needed = [tensor for tensor, need in ((frames, needs_frames), (weight, needs_weight)) if need]
    return [tensor.new_empty(tensor.shape) for tensor in needed]


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    frames, weight, ctx.eps, ctx.precision, _, ctx.backend, ctx.std = inputs
    ctx.save_for_backward(frames, weight)  # but not the features: backward recomputes them


def _differentiate(ctx: Any, grad_maps: Tensor) -> tuple:
    needs = ctx.needs_input_grad[:2]
    grads = iter(
        _persistence_backward(
            grad_maps, *ctx.saved_tensors, ctx.eps, ctx.precision, *needs, ctx.backend, ctx.std
        )
    )
    return (*(next(grads) if need else None for need in needs), *[None] * 5)


_persistence.register_autograd(_differentiate, setup_context=_setup_context)


def _run(
    step: str, backend: str, frames: Tensor, weight: Tensor, precision: torch.dtype, args: tuple
) -> Any:
    """One step, 'forward' or 'backward', on the path for these tensors."""
    chosen = _select(frames, weight, backend, precision)
    with torch.autocast(frames.device.type, enabled=False):
        if chosen == 'cpu':
            return getattr(cpu, step)(*args)
        if chosen == 'triton':
            try:
                return getattr(_gpu(), step)(*args)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:
                if backend == 'triton':
                    raise
                _unusable.append(error)
                _say_once(
                    'PA is computed by plain PyTorch operators: its kernel could not be built or '
                    f'started on this machine ({type(error).__name__}: {error})'
                )
        return _PLAIN[step](*args)


_unusable: list[Exception] = []  # why the kernel is not tried again in this process


def _plain_forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    std: Optional[Sequence[float]],
) -> Tensor:
    frames, weight = _plain_inputs(frames, fold_std(weight, std), precision)
    return persistence_reference(frames, weight, eps).to(dtype)


def _plain_backward(
    grad_maps: Tensor,
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    needs_frames: bool,
    needs_weight: bool,
    std: Optional[Sequence[float]],
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """The reference's gradients by hand, as autograd does not record within an operator."""
    dtypes = frames.dtype, weight.dtype
    frames, weight = _plain_inputs(frames, fold_std(weight, std), precision)
    padding = [weight.shape[-1] // 2] * 2
    differences = frame_differences(frames, weight.dtype)
    features = F.conv2d(differences, weight, padding=padding)
    features = features.to(torch.promote_types(features.dtype, torch.float32)) + eps
    maps = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    scale = (grad_maps.flatten(0, 1).unsqueeze(1) / maps).masked_fill(maps == 0, 0)
    grad_differences, grad_weight, _ = torch.ops.aten.convolution_backward(
        (features * scale).to(weight.dtype), differences, weight, None,
        [1, 1], padding, [1, 1], False, [0, 0], 1, [needs_frames, needs_weight, False],
    )  # fmt: skip
    grad_frames = None
    if needs_frames:
        grad_frames = torch.zeros(frames.shape, dtype=weight.dtype, device=frames.device)
        grad_differences = grad_differences.unflatten(0, (len(frames), -1))
        grad_frames[:, :-1] += grad_differences
        grad_frames[:, 1:] -= grad_differences
        grad_frames = grad_frames.to(dtypes[0])
    if not needs_weight:
        return grad_frames, None
    return grad_frames, fold_std(grad_weight.to(dtypes[1]), std).contiguous()


def _plain_inputs(frames: Tensor, weight: Tensor, precision: torch.dtype) -> tuple:
    if frames.dtype == torch.uint8:  # filters divided by a deviation are too small for float16
        precision = torch.float32
    return frames.to(torch.promote_types(frames.dtype, precision)), weight.to(precision)


_PLAIN: dict[str, Any] = dict(forward=_plain_forward, backward=_plain_backward)


def _check(frames: Tensor, weight: Tensor, std: Optional[Sequence[float]]) -> None:
    if frames.ndim != 5 or frames.shape[1] < 2:
        raise ValueError(
            f'frames must have the shape (B, m, C, H, W) with m >= 2, got {tuple(frames.shape)}'
        )
    if not frames.shape[3] or not frames.shape[4]:
        raise ValueError(f'frames have no pixels: their shape is {tuple(frames.shape)}')
    channels = frames.shape[2]
    if weight.ndim != 4 or weight.shape[1] != channels:
        raise ValueError(
            f'weight must have the shape (K, {channels}, k, k) to fit the frames, '
            f'got {tuple(weight.shape)}'
        )
    if weight.shape[-1] != weight.shape[-2] or weight.shape[-1] % 2 == 0:
        raise ValueError(f'weight needs square filters of odd size, got {tuple(weight.shape)}')
    if frames.device != weight.device:
        raise ValueError(
            f'frames are on {frames.device} and weight on {weight.device}; move one to the other'
        )
    if frames.dtype == torch.uint8:
        if std is None or len(std) != channels:
            raise ValueError(
                f'uint8 frames need std, the {channels} standard deviations that normalize '
                f'their channels, got {std}'
            )
        return
    if std is not None:
        raise ValueError(
            f'std goes with raw uint8 frames, but frames are {frames.dtype}: pass normalized '
            'frames without std'
        )
    if not frames.is_floating_point():
        raise ValueError(f'frames must be floating point or uint8, got {frames.dtype}')
    if frames.dtype != weight.dtype and _autocast_dtype(frames.device) is None:
        raise ValueError(
            f'frames are {frames.dtype} and weight {weight.dtype}: give both one dtype, '
            'or use autocast'
        )


def _autocast_dtype(device: torch.device) -> Optional[torch.dtype]:
    if device.type != 'meta' and torch.is_autocast_enabled(device.type):  # meta has no autocast
        return torch.get_autocast_dtype(device.type)
    return None


def _wants_plain(weight: Tensor) -> bool:
    """Tell whether others run the graph, differentiate twice, or count it on the meta device."""
    if weight.dtype == torch.float64 or weight.is_meta:
        return True
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    return torch.jit.is_tracing() or torch._C._are_functorch_transforms_active()


def _wants_operator(frames: Tensor, weight: Tensor) -> bool:
    """Tell whether autograd, a compiler, a mode or a kind of tensor has to see one operator.

    To predict, nobody has: the first call of an operator imports PyTorch's compiler, a second.
    """
    if torch.is_grad_enabled() and (frames.requires_grad or weight.requires_grad):
        return True
    return _is_watched(frames, weight)


def _is_watched(frames: Tensor, weight: Tensor) -> bool:
    """Tell whether a compiler, a mode or a kind of tensor looks at operators."""
    if torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None:
        return True
    return not (_has_data(frames) and _has_data(weight))


def _has_data(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, Parameter)


def _prefers_plain(frames: Tensor, weight: Tensor, precision: torch.dtype) -> bool:
    """Tell whether plain operators are the fastest, recorded by autograd, which saves features.

    Not in half precision, where small filters and large gradients need what the operator does.
    """
    return (
        precision == torch.float32
        and frames.is_floating_point()
        and not _is_watched(frames, weight)
        and _preferred(frames, weight, precision) == 'reference'
    )


def _preferred(frames: Tensor, weight: Tensor, precision: torch.dtype) -> str:
    """The fastest path for these tensors; it may have an obstacle."""
    device, free = frames.device.type, None
    if frames.is_cuda:
        device = 'cuda'
        if _has_data(frames) and not torch.compiler.is_compiling():
            free = free_memory(frames.device, frames.shape)
    return fastest_backend(device, frames.dtype, precision, frames.shape, len(weight), free)


def _obstacle(backend: str, frames: Tensor, weight: Tensor) -> Optional[str]:
    """Why a fast path cannot run on these tensors, None where it can."""
    if backend == 'cpu':
        return None if frames.device.type == 'cpu' else f'needs CPU tensors, got {frames.device}'
    if not _has_triton():
        return 'needs the package triton, which is not installed'
    if frames.is_cuda:
        if torch.version.cuda is None or torch.cuda.get_device_capability(frames.device) < (8, 0):
            return 'needs an NVIDIA GPU of compute capability 8.0 or above'
    elif os.environ.get('TRITON_INTERPRET') != '1':
        return f'needs CUDA tensors, got {frames.device}'
    if _unusable:
        return f'failed before: {_unusable[0]}'
    return _gpu().obstacle(frames, weight)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec('triton') is not None


def _gpu() -> Any:
    return importlib.import_module('.gpu', __package__)  # imports triton, which takes a second


@functools.cache
def _say_once(message: str) -> None:
    warnings.warn(f'pan_mm: {message}', stacklevel=2)
