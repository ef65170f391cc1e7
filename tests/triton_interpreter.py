"""A repair of Triton's interpreter (``TRITON_INTERPRET=1``), which runs kernels without a GPU."""

import importlib
from types import ModuleType

import numpy as np

from pan_mm.compat.repair import Repair

_INTERPRETER = 'triton.runtime.interpreter'
_ARITHMETIC = ('create_fadd', 'create_fsub', 'create_fmul', 'create_fdiv')


def _bits(values):
    """bfloat16 of float32: rounded to the nearest, ties to even, as a GPU does."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    finite = bits & 0x7F800000 != 0x7F800000
    rounded = np.where(finite, bits + 0x7FFF + (bits >> 16 & 1), bits)
    return (rounded >> 16).astype(np.uint16)


def _adds_bits(triton):
    module = importlib.import_module(_INTERPRETER)
    one = module.TensorHandle(_bits([1.0]), module.tl.bfloat16)
    total = module.InterpreterBuilder().create_fadd(one, one)
    return not np.array_equal(total.data, _bits([2.0]))


def _widen(triton: ModuleType) -> None:
    """Let bfloat16 be computed in float32 and rounded."""
    module = importlib.import_module(_INTERPRETER)
    builder, tl, handle = module.InterpreterBuilder, module.tl, module.TensorHandle
    cast, dot = builder.cast_impl, builder.create_dot

    def wide(value):
        if value.dtype.scalar != tl.bfloat16:
            return value
        return handle((value.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def cast_impl(self, value, dtype):
        kinds = value.dtype.scalar, dtype.scalar
        if kinds == (tl.float32, tl.bfloat16):
            return handle(_bits(value.data), tl.bfloat16)
        return wide(value) if kinds == (tl.bfloat16, tl.float32) else cast(self, value, dtype)

    def arithmetic(method):
        def compute(self, left, right):
            result = method(self, wide(left), wide(right))
            if left.dtype.scalar == tl.bfloat16:
                result = handle(_bits(result.data), tl.bfloat16)
            return result

        return compute

    builder.cast_impl = cast_impl
    builder.create_dot = lambda self, a, b, *args: dot(self, wide(a), wide(b), *args)
    for name in _ARITHMETIC:
        setattr(builder, name, arithmetic(getattr(builder, name)))


BFLOAT16 = Repair(
    name='interpreter-bfloat16',
    reason="Triton's interpreter adds and multiplies the bits of bfloat16 as integers "
    '(triton/runtime/interpreter.py, binary_op and create_dot)',
    until='Triton computes bfloat16 in its interpreter in float32',
    needed=_adds_bits,
    apply=_widen,
    module='triton',  # the interpreter is imported halfway through it
)
