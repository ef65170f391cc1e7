"""Bound what a pickle makes before PyTorch reads it: names, tuples in one another, calls.

A few bytes describe a tuple of 2**60 items, which Python writes out to hash it as a key, or calls
that double a text each time. The opcodes are followed on a stack of costs instead of values.
"""

import io
import pickletools
import re
from contextlib import suppress
from typing import BinaryIO, NamedTuple

MOST_ITEMS, MOST_CALLS = 1_000, 6
PICKLES = 5  # at most, in a file of PyTorch before 1.6; the bytes of its tensors follow
# Each takes memory without bounds.
REFUSED_NAMES = re.compile(
    r'(builtins|__builtin__) bytearray|torch[.\w]* \w+Tensor|'
    r'torch\._utils _rebuild_device_tensor_from_cpu_tensor'
)


class Refused(Exception):
    """Says what a file holds that it may not."""


class _Cost(NamedTuple):
    """Items of a tuple and of the tuples in it, and calls in the arguments of one another."""

    items: int = 0
    calls: int = 0


_LEAF = _Cost()


def check_pickles(content: bytes) -> None:
    """Refuse pickles that a file begins with; an error of their form is left to their reader."""
    file = io.BytesIO(content)
    with suppress(ValueError, IndexError, KeyError):
        for _ in range(PICKLES):
            _check_pickle(file)


def _check_pickle(file: BinaryIO) -> None:
    stack, below, memo = [], [], {}  # type: ignore[var-annotated]
    for opcode, value, _ in pickletools.genops(file):
        name, takes = opcode.name, opcode.stack_before
        if name == 'GLOBAL' and REFUSED_NAMES.fullmatch(value):
            raise Refused(f'it asks for {value.partition(" ")[2]!r}, which is not plain data')
        if name == 'MARK':
            below.append(stack)
            stack = []
        elif name in ('BINPUT', 'LONG_BINPUT'):
            memo[value] = stack[-1]
        elif name in ('BINGET', 'LONG_BINGET'):
            stack.append(memo[value])
        elif not takes:
            stack += [_LEAF] * len(opcode.stack_after)
        else:
            items = stack[len(stack) - len(takes) :]
            if pickletools.markobject in takes:
                items, stack = stack, below.pop()
                del stack[len(stack) + 2 - len(takes) :]  # a list or dict below the mark
            else:
                del stack[len(stack) - len(takes) :]
            stack += [_cost_of(name, items)] * len(opcode.stack_after)


def _cost_of(name: str, items: list) -> _Cost:
    """Cost of what an opcode makes of these; refuse large tuples but as values of a dict."""
    hashed = {'SETITEM': items[1:2], 'SETITEMS': items[::2]}.get(name, items)
    nested = sum(cost.items for cost in hashed)
    if nested > MOST_ITEMS and (name.startswith('TUPLE') or max(hashed).items > MOST_ITEMS):
        raise Refused(f'it nests tuples of more than {MOST_ITEMS:,} items')
    calls = max((cost.calls for cost in items), default=0)
    if name.startswith('TUPLE'):
        return _Cost(nested + len(items), calls)
    if name in ('REDUCE', 'NEWOBJ'):
        if calls == MOST_CALLS:
            raise Refused(f'it nests more than {MOST_CALLS} calls')
        return _Cost(0, calls + 1)
    return _LEAF
