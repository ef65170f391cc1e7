"""The fastest path of PA by the records in ``results/performance``, which tests hold it to."""

from collections.abc import Sequence
from typing import Optional

import torch

# Free bytes of a GPU where nobody may ask: while a CUDA graph is captured, or without data.
ASSUMED_FREE = 6 * 2**30


def fastest_backend(
    device: str,
    frames: torch.dtype,
    precision: torch.dtype,
    shape: Sequence[int],
    num_filters: int,
    free: Optional[int] = None,
) -> str:
    """Name the path that was the fastest in the records, if its memory is there.

    Args:
        device (str): Type of the device, such as 'cuda'.
        frames (torch.dtype): Dtype of the frames.
        precision (torch.dtype): Dtype of the products: of autocast, else of the filters.
        shape (Sequence[int]): Shape of the frames, (B, m, C, H, W).
        num_filters (int): K, the filters.
        free (int, optional): Free bytes of a GPU. Defaults to None, unknown.

    Returns:
        str: 'cpu', 'triton' or 'reference'; whether it can run is another question.
    """
    if device != 'cuda':
        return 'cpu' if device == 'cpu' else 'reference'
    if precision != torch.float32 or frames == torch.uint8:
        return 'triton'
    available = ASSUMED_FREE if free is None else free
    return 'reference' if reference_bytes(shape, num_filters) <= available // 3 else 'triton'


def reference_bytes(shape: Sequence[int], num_filters: int) -> int:
    """Bytes of the reference's tensors in float32 when memory is fullest, in backward.

    For each map, 5 tensors of features, 2 of differences, the maps and their gradient. Forward
    needs less, but has to choose as backward does.
    """
    batch, num_frames, channels, height, width = shape
    return 4 * batch * (num_frames - 1) * height * width * (5 * num_filters + 2 * channels + 2)


def free_memory(device: torch.device, shape: Sequence[int]) -> Optional[int]:
    """Bytes a GPU had left for new tensors when frames of this shape first came, None if unknown.

    A GPU is asked once for each shape: a run keeps its path, and calls do not wait for an answer.
    """
    key = (device, tuple(shape))
    if key not in _free:
        if torch.cuda.is_current_stream_capturing():
            return None
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        _free[key] = torch.cuda.mem_get_info(device)[0] + cached
    return _free[key]


_free: dict[tuple, int] = {}
