"""The one entry to Persistence of Appearance; chooses how it is computed."""

import importlib.util
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Optional

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .reference import persistence_reference

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
        frames (Tensor): Frames of shape (B, m, C, H, W), m >= 2, any strides. Normalised and
            floating point, or raw uint8 together with ``std``.
        weight (Tensor): Filters of the shallow convolution, shape (K, C, k, k), k odd.
        eps (float): Added to each feature difference before the norm. Defaults to 1e-6.
        std (Sequence[float], optional): Standard deviation of each channel, in the units of the
            raw frames. Normalisation is then folded into the filters: the mean cancels in a
            difference. Required for uint8 frames, and for them alone. Defaults to None.
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
    chosen = select_backend(frames, weight, backend)
    dtype = frames.dtype if frames.is_floating_point() else weight.dtype
    if std is not None:
        weight = weight / weight.new_tensor(std).view(-1, 1, 1)
    if chosen == 'reference':
        return persistence_reference(frames, weight, eps)
    implementation = importlib.import_module('.cpu' if chosen == 'cpu' else '.gpu', __package__)
    wish = _autocast_dtype(frames.device) or weight.dtype
    weight = weight.to(implementation.compute_dtype(wish))
    return _Persistence.apply(frames, weight, eps, dtype, implementation)


def select_backend(frames: Tensor, weight: Tensor, backend: str = 'auto') -> str:
    """Name the path that :func:`persistence_of_appearance` takes for these tensors.

    'auto' is 'triton' on NVIDIA GPUs of compute capability 8.0 and above where Triton is
    installed, 'cpu' on processors where PyTorch has oneDNN, else 'reference'. It is 'reference',
    too, for float64 and while a graph is being made (``torch.compile``, ``torch.export``, ONNX,
    tracing, ``torch.func``), so that graphs hold plain operators.

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
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
    if backend in ('cpu', 'triton'):
        obstacle = _obstacle(backend, frames)
        if obstacle:
            raise RuntimeError(f"backend {backend!r} {obstacle}; use backend='auto'")
        return backend
    if backend == 'reference' or _is_traced() or weight.dtype == torch.float64:
        return 'reference'
    if frames.is_cuda and _obstacle('triton', frames) is None:
        return 'triton'
    if _obstacle('cpu', frames) is None and torch.backends.mkldnn.is_available():
        return 'cpu'
    return 'reference'


class _Persistence(torch.autograd.Function):
    """Keeps the inputs alone for backward, which computes the features again."""

    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        weight: Tensor,
        eps: float,
        dtype: torch.dtype,
        implementation: ModuleType,
    ) -> Tensor:
        ctx.save_for_backward(frames, weight)
        ctx.eps, ctx.implementation = eps, implementation
        return implementation.forward(frames, weight, eps, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_maps: Tensor) -> tuple:
        frames, weight = ctx.saved_tensors
        grads = ctx.implementation.backward(
            grad_maps, frames, weight, ctx.eps, *ctx.needs_input_grad[:2]
        )
        return (*grads, None, None, None)


def _check(frames: Tensor, weight: Tensor, std: Optional[Sequence[float]]) -> None:
    if frames.ndim != 5 or frames.shape[1] < 2:
        raise ValueError(
            f'frames must have the shape (B, m, C, H, W) with m >= 2, got {tuple(frames.shape)}'
        )
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
                f'uint8 frames need std, the {channels} standard deviations that normalise '
                f'their channels, got {std}'
            )
        return
    if std is not None:
        raise ValueError(
            f'std goes with raw uint8 frames, but frames are {frames.dtype}: pass normalised '
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
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


def _is_traced() -> bool:
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
    )


def _obstacle(backend: str, frames: Tensor) -> Optional[str]:
    """Why a fast path cannot run on these frames, None where it can."""
    if backend == 'cpu':
        return None if frames.device.type == 'cpu' else f'needs CPU tensors, got {frames.device}'
    if importlib.util.find_spec('triton') is None:
        return 'needs the package triton, which is not installed'
    if frames.is_cuda:
        if torch.version.cuda is None or torch.cuda.get_device_capability(frames.device) < (8, 0):
            return 'needs an NVIDIA GPU of compute capability 8.0 or above'
    elif os.environ.get('TRITON_INTERPRET') != '1':
        return f'needs CUDA tensors, got {frames.device}'
    return None
