"""Bound what a pickle makes before PyTorch reads it: names, tuples in one another, calls.

A few bytes describe a tuple of 2**60 items, which Python writes out to hash it as a key, or calls
that double a text each time. The opcodes are followed as PyTorch's reader follows them.
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
# The stack holds for each value the items of a tuple, with those of tuples in it, and the calls
# that its value is made of, one in the arguments of another.
_LEAF = (0, 0)
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


class Refused(Exception):
    """Says what a file holds that it may not."""


def check_pickles(content: bytes) -> None:
    """Follow the pickles that a file begins with.

    Args:
        content (bytes): The file. An error of its form is left to its reader.

    Raises:
        Refused: If one asks for a name of :data:`REFUSED_NAMES`, or nests tuples of more than
            ``MOST_ITEMS`` items or more than ``MOST_CALLS`` calls.
    """
    file = io.BytesIO(content)
    with suppress(ValueError, IndexError, KeyError):
        for _ in range(PICKLES):
            _check_pickle(file)


def _check_pickle(file: BinaryIO) -> None:
    stack, outer, memo = [], [], {}  # type: ignore[var-annotated]
    for opcode, value, _ in pickletools.genops(file):
        kind = opcode.name
        if kind == 'MARK':
            outer.append(stack)
            stack = []
        elif kind in ('TUPLE', 'APPENDS', 'SETITEMS'):
            items, stack = stack, outer.pop()
            if kind == 'TUPLE':
                stack.append(_tuple_of(items))
            else:
                _check_sizes(items if kind == 'APPENDS' else items[::2])
        elif kind in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[kind])]
            stack.append(_tuple_of(items))
        elif kind in ('REDUCE', 'NEWOBJ'):
            stack[-2:] = [_call_of(stack[-2:])]
        elif kind in ('BUILD', 'APPEND'):
            _check_sizes([stack.pop()])
        elif kind == 'SETITEM':
            _check_sizes(stack[-2:-1])
            del stack[-2:]
        elif kind in ('BINGET', 'LONG_BINGET'):
            stack.append(memo[value])
        elif kind in ('BINPUT', 'LONG_BINPUT'):
            memo[value] = stack[-1]
        elif kind == 'BINPERSID':
            stack[-1] = _LEAF
        else:
            if kind == 'GLOBAL':
                _check_name(value)
            stack += [_LEAF] * len(opcode.stack_after)  # PyTorch reads no other that takes any


def _check_name(name: str) -> None:
    if REFUSED_NAMES.fullmatch(name):
        raise Refused(f'it asks for {name.partition(" ")[2]!r}, which is not plain data')


def _check_sizes(items: list) -> None:
    """Refuse large tuples except as values of a dict, as names of classes may be."""
    if any(size > MOST_ITEMS for size, _ in items):
        raise Refused(f'it nests tuples of more than {MOST_ITEMS:,} items')


def _tuple_of(items: list) -> tuple:
    inner = sum(size for size, _ in items)
    _check_sizes([(inner, 0)])
    return inner + len(items), max((calls for _, calls in items), default=0)


def _call_of(items: list) -> tuple:
    calls = 1 + max(calls for _, calls in items)
    if calls > MOST_CALLS:
        raise Refused(f'it nests more than {MOST_CALLS} calls')
    return 0, calls
