"""Repairs of Triton's interpreter (``TRITON_INTERPRET=1``), by which kernels are tested here."""

import importlib
from types import ModuleType

import numpy as np

from .repair import Repair

_INTERPRETER = 'triton.runtime.interpreter'
_ARITHMETIC = ('create_fadd', 'create_fsub', 'create_fmul', 'create_fdiv')


def _handle(module, values):
    """``values`` as bfloat16."""
    exact = module.TensorHandle(np.asarray(values, np.float32), module.tl.float32)
    return module.InterpreterBuilder().cast_impl(exact, module.tl.bfloat16)


def _adds_bits(triton):
    module = importlib.import_module(_INTERPRETER)
    one = _handle(module, [1.0])
    total = module.InterpreterBuilder().create_fadd(one, one)
    return not np.array_equal(total.data, _handle(module, [2.0]).data)


def _widen(triton: ModuleType) -> None:
    """Let bfloat16 be computed in float32 and rounded, as a GPU does."""
    module = importlib.import_module(_INTERPRETER)
    builder, tl = module.InterpreterBuilder, module.tl

    def wide(self, handle):
        return self.cast_impl(handle, tl.float32) if handle.dtype.scalar == tl.bfloat16 else handle

    def arithmetic(method):
        def compute(self, lhs, rhs):
            result = method(self, wide(self, lhs), wide(self, rhs))
            if lhs.dtype.scalar == tl.bfloat16:
                bits = result.data.view(np.uint32)
                rounded = bits + 0x7FFF + (bits >> 16 & 1)  # to the nearest, ties to even
                finite = bits & 0x7F800000 != 0x7F800000
                result.data = np.where(finite, rounded, bits).astype(np.uint32).view(np.float32)
                return self.cast_impl(result, tl.bfloat16)
            return result

        return compute

    dot = builder.create_dot
    builder.create_dot = lambda self, a, b, *args: dot(self, wide(self, a), wide(self, b), *args)
    for name in _ARITHMETIC:
        setattr(builder, name, arithmetic(getattr(builder, name)))


REPAIRS = (
    Repair(
        name='interpreter-bfloat16',
        reason="Triton's interpreter adds and multiplies the bits of bfloat16 as integers "
        '(triton/runtime/interpreter.py, binary_op and create_dot)',
        until='Triton computes bfloat16 in its interpreter in float32',
        needed=_adds_bits,
        apply=_widen,
        module='triton',  # the interpreter is imported halfway through it
    ),
)
