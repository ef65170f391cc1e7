"""Bound what a pickle makes before PyTorch reads it: names, tuples in one another, calls.

A few bytes describe a tuple of 2**60 items, which Python writes out to hash it as a key, or calls
that double a text each time. The opcodes are followed on a stack of costs instead of values: the
items of a tuple and of the tuples in it, and the calls in the arguments of one another.
"""

import io
import pickletools
import re
from contextlib import suppress
from typing import BinaryIO

MOST_ITEMS, MOST_CALLS = 1_000, 6
PICKLES = 5  # at most, in a file of PyTorch before 1.6; the bytes of its tensors follow
# Each takes memory without bounds.
REFUSED_NAMES = re.compile(
    r'(builtins|__builtin__) bytearray|torch[.\w]* \w+Tensor|'
    r'torch\._utils _rebuild_device_tensor_from_cpu_tensor'
)


class Refused(Exception):
    """Says what a file holds that it may not."""


def check_pickles(content: bytes) -> None:
    """Refuse pickles that a file begins with; an error of their form is left to their reader."""
    file = io.BytesIO(content)
    with suppress(ValueError, IndexError, KeyError):
        for _ in range(PICKLES):
            _check_pickle(file)


def _check_pickle(file: BinaryIO) -> None:
    stack, below, memo = [], [], {}  # type: ignore[var-annotated]
    for opcode, value, _ in pickletools.genops(file):
        name, takes, items = opcode.name, opcode.stack_before, []
        if name == 'GLOBAL' and REFUSED_NAMES.fullmatch(value):
            raise Refused(f'it asks for {value.partition(" ")[2]!r}, which is not plain data')
        if name == 'MARK':
            below.append(stack)
            stack = []
            continue
        if name in ('BINPUT', 'LONG_BINPUT'):
            memo[value] = stack[-1]
        if pickletools.markobject in takes:
            items, stack, takes = stack, below.pop(), takes[:-2]
        if takes:
            items = stack[-len(takes) :] + items
            del stack[-len(takes) :]
        cost = memo[value] if name in ('BINGET', 'LONG_BINGET') else _cost_of(name, items)
        stack += [cost] * len(opcode.stack_after)


def _cost_of(name: str, items: list) -> tuple:
    """Cost (items, calls) of what an opcode makes of these; refuse too much of either."""
    # Only the keys of a dict are hashed.
    sizes = [size for size, _ in (items[1::2] if name.startswith('SETITEM') else items)]
    is_tuple = name.startswith('TUPLE')
    if (sum(sizes) if is_tuple else max(sizes, default=0)) > MOST_ITEMS:
        raise Refused(f'it nests tuples of more than {MOST_ITEMS:,} items')
    calls = max((calls for _, calls in items), default=0)
    if is_tuple:
        return sum(sizes) + len(items), calls
    if name not in ('REDUCE', 'NEWOBJ'):
        return 0, 0
    if calls == MOST_CALLS:
        raise Refused(f'it nests more than {MOST_CALLS} calls')
    return 0, calls + 1
