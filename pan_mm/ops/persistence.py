"""The one entry to Persistence of Appearance; chooses how it is computed."""

import contextlib
import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode

from . import cpu, plain
from .raw_frames import fold_std
from .reference import persistence_reference
from .selection import fastest_backend, fastest_measured, free_memory, may_measure

BACKENDS = ('auto', 'reference', 'cpu', 'triton', 'cuda')


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
            kernel for NVIDIA GPUs), 'cuda' (another one, for tensor cores), or 'auto', the best of
            them for these tensors: see :func:`select_backend`. All agree within rounding. Only
            'reference' can be differentiated twice. Defaults to 'auto'.

    Returns:
        Tensor: Maps of shape (B, m - 1, H, W) in the dtype of ``frames``, of ``weight`` for uint8.

    Raises:
        ValueError: If shapes, dtypes, devices or ``std`` do not fit the above, or the backend is
            unknown.
        RuntimeError: If 'cpu' or 'triton' is asked for and cannot run on these tensors. Where
            'cuda' cannot, one warning says why, and 'reference' takes its place.

    Example:
        >>> frames, weight = torch.rand(2, 4, 3, 32, 32), torch.rand(8, 3, 7, 7)
        >>> persistence_of_appearance(frames, weight).shape
        torch.Size([2, 3, 32, 32])
    """
    _check(frames, weight, std)
    if backend != 'auto' and not torch.compiler.is_compiling():
        select_backend(frames, weight, backend)  # reports faults at once
    dtype = _dtype_of_maps(frames, weight)
    precision = _autocast_dtype(frames.device) or weight.dtype
    is_plain = backend == 'reference' or (
        backend == 'auto' and (_wants_plain(weight) or _prefers_plain(frames, weight, precision))
    )
    if is_plain:
        return persistence_reference(frames, fold_std(weight, std), eps)
    std = None if std is None else [float(value) for value in std]
    compute = _persistence if _wants_operator(frames, weight) else _forward
    return compute(frames, weight, eps, precision, dtype, backend, std)


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
    for when they run: they hold one operator, ``pan_mm::persistence``. 'cuda' is never chosen
    until a record shows that it is the fastest, or ``torch.backends.cudnn.benchmark`` lets PA time
    its paths. Where a kernel cannot run, one warning says why and 'reference' takes its place.

    Args:
        frames (Tensor): Frames of shape (B, m, C, H, W).
        weight (Tensor): Filters of shape (K, C, k, k).
        backend (str): 'auto', or the name of a path to insist on. Defaults to 'auto'.

    Returns:
        str: 'reference', 'cpu', 'triton' or 'cuda'.

    Raises:
        ValueError: If the backend is unknown.
        RuntimeError: If 'cpu' or 'triton' is asked for and cannot run on these tensors.
    """
    return _select(frames, weight, backend, _autocast_dtype(frames.device) or weight.dtype)


def _select(frames: Tensor, weight: Tensor, backend: str, precision: torch.dtype) -> str:
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    wanted = backend
    if backend == 'auto':
        wanted = 'reference' if _wants_plain(weight) else _preferred(frames, weight, precision)
    obstacle = None if wanted == 'reference' else _obstacle(wanted, frames, weight)
    if obstacle is None:
        return wanted
    if backend in ('cpu', 'triton'):
        raise RuntimeError(f"backend {backend!r} {obstacle}; use backend='auto'")
    if wanted in KERNELS and wanted not in _unusable:  # a warning has reported it
        _say_once(f'PA is computed by plain PyTorch operators: backend {wanted!r} {obstacle}')
    return 'reference'


def _forward(
    frames: Tensor,
    weight: Tensor,
    eps: float,
    precision: torch.dtype,
    dtype: torch.dtype,
    backend: str,
    std: Optional[Sequence[float]] = None,
) -> Tensor:
    arguments = dict(frames=frames, weight=weight, eps=eps, precision=precision, std=std)
    return _run('forward', backend, dict(arguments, dtype=dtype))


_persistence = torch.library.custom_op(
    'pan_mm::persistence',
    _forward,
    mutates_args=(),
    schema='(Tensor frames, Tensor weight, float eps, ScalarType precision, ScalarType dtype, '
    'str backend, float[]? std=None) -> Tensor',
)


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
    arguments = dict(frames=frames, weight=weight, eps=eps, precision=precision, std=std)
    needs = dict(needs_frames=needs_frames, needs_weight=needs_weight)
    grads = _run('backward', backend, dict(arguments, grad_maps=grad_maps, **needs))
    inputs = zip(grads, (frames, weight))
    return [grad.to(tensor.dtype) for grad, tensor in inputs if grad is not None]


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


def _run(step: str, backend: str, arguments: dict) -> Any:
    """One step, 'forward' or 'backward', on the path for these tensors."""
    frames, weight, precision = (arguments[name] for name in ('frames', 'weight', 'precision'))
    chosen = _select(frames, weight, backend, precision)
    with torch.autocast(frames.device.type, enabled=False):
        if chosen in KERNELS and backend != 'triton':
            with _dropped_on_failure(chosen):
                return _compute(chosen, step, arguments)
            chosen = 'reference'
        return _compute(chosen, step, arguments)


def _compute(path: str, step: str, arguments: dict) -> Any:
    """One step on a path, with filters in float32.

    Small filters and large gradients need that, whatever the precision of products. The CUDA
    kernels convert filters themselves.
    """
    if path != 'cuda':
        weight = arguments['weight']
        exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
        arguments = dict(arguments, weight=exact)
    module = dict(cpu=cpu, reference=plain).get(path) or _kernels(path)
    return getattr(module, step)(**arguments)


@contextlib.contextmanager
def _dropped_on_failure(backend: str) -> Iterator[None]:
    """Use a kernel no more in this process that cannot be built or started, and say why."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        _unusable[backend] = error
        _say_once(
            f'PA does without its kernel {backend!r}, which could not be built or started on this '
            f'machine ({type(error).__name__}: {error})'
        )


# Packages that kernels for GPUs need, and modules that hold them.
KERNELS = dict(triton=('triton', '.gpu'), cuda=('cuda.core', '.cuda'))
_unusable: dict[str, Exception] = {}  # why a kernel is not tried again in this process


def _check(frames: Tensor, weight: Tensor, std: Optional[Sequence[float]]) -> None:
    shape, filters = tuple(frames.shape), tuple(weight.shape)
    if len(shape) != 5 or shape[1] < 2 or not shape[3] * shape[4]:
        raise ValueError(
            f'frames must have the shape (B, m, C, H, W) with m >= 2 and pixels, got {shape}'
        )
    is_odd = len(filters) == 4 and filters[2] == filters[3] and filters[3] % 2
    if not is_odd or filters[1] != shape[2]:
        raise ValueError(
            f'weight must have the shape (K, {shape[2]}, k, k), k odd, to fit the frames, '
            f'got {filters}'
        )
    if frames.device != weight.device:
        raise ValueError(
            f'frames are on {frames.device} and weight on {weight.device}; move one to the other'
        )
    is_raw = frames.dtype == torch.uint8
    if is_raw != (std is not None) or (is_raw and len(std) != shape[2]):
        raise ValueError(
            'raw uint8 frames need std, the standard deviation of each channel, and normalized '
            f'ones have none: frames are {frames.dtype}, std is {std}'
        )
    if not is_raw and not frames.is_floating_point():
        raise ValueError(f'frames must be floating point or uint8, got {frames.dtype}')
    if not is_raw and frames.dtype != weight.dtype and _autocast_dtype(frames.device) is None:
        raise ValueError(
            f'frames are {frames.dtype} and weight {weight.dtype}: give both one dtype, '
            'or use autocast'
        )


def _autocast_dtype(device: torch.device) -> Optional[torch.dtype]:
    if device.type != 'meta' and torch.is_autocast_enabled(device.type):  # meta has no autocast
        return torch.get_autocast_dtype(device.type)
    return None


def _dtype_of_maps(frames: Tensor, weight: Tensor) -> torch.dtype:
    return frames.dtype if frames.is_floating_point() else weight.dtype


def _wants_plain(weight: Tensor) -> bool:
    """Tell whether others run the graph, differentiate twice, or count it on the meta device."""
    if weight.dtype == torch.float64 or weight.is_meta:
        return True
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    return torch.jit.is_tracing() or torch._C._are_functorch_transforms_active()


def _wants_operator(frames: Tensor, weight: Tensor) -> bool:
    """Tell whether autograd, a compiler, a mode or a kind of tensor has to see one operator.

    To predict, no one has: the first call of an operator imports PyTorch's compiler, a second.
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

    Not in half precision, where small filters and large gradients need the operator.
    """
    return (
        precision == torch.float32
        and frames.is_floating_point()
        and not _is_watched(frames, weight)
        and _preferred(frames, weight, precision) == 'reference'
    )


def _preferred(frames: Tensor, weight: Tensor, precision: torch.dtype) -> str:
    """The fastest path for these tensors; it may have an obstacle."""
    device, free = 'cuda' if frames.is_cuda else frames.device.type, None
    is_real = frames.is_cuda and _has_data(frames) and not torch.compiler.is_compiling()
    if is_real:
        free = free_memory(frames.device, frames.shape)
    known = fastest_backend(device, frames.dtype, precision, frames.shape, len(weight), free)
    if is_real and may_measure():
        return _measured(frames, weight, precision, known)
    return known


_fastest: dict[tuple, str] = {}


def _measured(frames: Tensor, weight: Tensor, precision: torch.dtype, known: str) -> str:
    """The fastest path for frames of this kind and number, measured when they first come."""
    batch, num_frames, *frame = frames.shape
    number = (batch * num_frames).bit_length()  # of another one at most twice as large
    last = frames.stride(2) == 1
    dtypes = frames.dtype, weight.dtype, precision
    key = (frames.device, *dtypes, number, *frame, last, *weight.shape)
    if key not in _fastest:
        arguments = dict(
            frames=frames.detach(),
            weight=weight.detach(),
            eps=1e-6,
            precision=precision,
            dtype=_dtype_of_maps(frames, weight),
            std=[1.0] * frames.shape[2] if frames.dtype == torch.uint8 else None,
        )
        functions = {
            name: functools.partial(_compute, name, 'forward', arguments)
            for name in (*KERNELS, 'reference')
        }
        usable = [name for name in KERNELS if _starts(name, functions[name], frames, weight)]
        if known == 'reference' or not usable:
            usable.append('reference')
        first = known if known in usable else usable[0]
        _fastest[key] = fastest_measured({name: functions[name] for name in usable}, first)
    return _fastest[key]


def _starts(backend: str, function: Callable, frames: Tensor, weight: Tensor) -> bool:
    """Tell whether a kernel has no obstacle and runs, when tried."""
    if _obstacle(backend, frames, weight) is None:
        with _dropped_on_failure(backend):
            function()
    return _obstacle(backend, frames, weight) is None


def _obstacle(backend: str, frames: Tensor, weight: Tensor) -> Optional[str]:
    """Why a fast path cannot run on these tensors, None where it can."""
    if backend == 'cpu':
        return None if frames.device.type == 'cpu' else f'needs CPU tensors, got {frames.device}'
    package, _ = KERNELS[backend]
    if not _has(package):
        return f'needs the package {package.replace(".", "-")}, which is not installed'
    if frames.is_cuda:
        if torch.version.cuda is None or torch.cuda.get_device_capability(frames.device) < (8, 0):
            return 'needs an NVIDIA GPU of compute capability 8.0 or above'
    elif not _runs_on_cpu(backend):
        return f'needs CUDA tensors, got {frames.device}'
    if backend in _unusable:
        return f'failed before: {_unusable[backend]}'
    return _kernels(backend).obstacle(frames, weight)


def _runs_on_cpu(backend: str) -> bool:
    return backend == 'triton' and os.environ.get('TRITON_INTERPRET') == '1'


@functools.cache
def _has(package: str) -> bool:
    parent = package.partition('.')[0]
    return all(
        importlib.util.find_spec(name) is not None for name in dict.fromkeys((parent, package))
    )


def _kernels(backend: str) -> Any:
    return importlib.import_module(KERNELS[backend][1], __package__)  # Triton's takes a second


@functools.cache
def _say_once(message: str) -> None:
    warnings.warn(f'pan_mm: {message}', stacklevel=2)
