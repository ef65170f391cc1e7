"""The fastest path of PA: by the records in ``results/performance``, which tests hold it to, or, if
``torch.backends.cudnn.benchmark`` is set, as measured when such frames first come.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

import torch

# Free bytes of a GPU where it may not be asked: while a CUDA graph is captured, or without data.
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
        is_cpu = device == 'cpu' and torch.backends.mkldnn.is_available()
        return 'cpu' if is_cpu else 'reference'
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


def may_measure() -> bool:
    """Tell whether the user lets PyTorch try for the fastest, and nothing forbids it here.

    Processes of a distributed run would choose differently, and a graph cannot be timed while it
    is captured.
    """
    return (
        torch.backends.cudnn.benchmark
        and not torch.are_deterministic_algorithms_enabled()
        and not (torch.distributed.is_available() and torch.distributed.is_initialized())
        and not torch.cuda.is_current_stream_capturing()
    )


def gpu_seconds(function: Callable, calls: int = 10) -> float:
    """Seconds of a call on the current GPU, of several in a row."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / calls


def fastest_measured(
    functions: Mapping[str, Callable], known: str, seconds: Callable = gpu_seconds
) -> str:
    """Name the fastest of some functions without arguments.

    Another than ``known``, which the records name, has to take less than 90 % of its time.
    """
    for function in functions.values():
        function()  # compiles
    times: dict = {name: [] for name in functions}
    for _ in range(3):
        for name, function in functions.items():  # in turns, as clocks change
            times[name].append(seconds(function))
    medians = {name: statistics.median(each) for name, each in times.items()}
    best = min(medians, key=medians.__getitem__)
    return best if medians[best] < 0.9 * medians[known] else known
