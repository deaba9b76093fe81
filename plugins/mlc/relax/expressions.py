"""Expressions that kernels share; each takes and returns TIR expressions, of vectors as well as of scalars."""

from __future__ import annotations

import math
from typing import Any

LOG2_E = math.log2(math.e)
_LIMIT = 126.0  # beyond it 2**x leaves the normal range of float32
_TERMS = 8  # of the series of 2**x on [-1/2, 1/2]; the first one left out is below 1e-9


def exp2(x: Any) -> Any:
    """Return 2**x in float32 by vector instructions: LLVM has no vector ``exp2`` and would call libm per lane."""
    from tvm.script import tirx as T

    x = T.max(T.min(x, T.float32(_LIMIT)), T.float32(-_LIMIT))
    whole = T.floor(x + T.float32(0.5))
    part = x - whole
    series = T.float32(math.log(2) ** (_TERMS - 1) / math.factorial(_TERMS - 1))
    for power in reversed(range(_TERMS - 1)):
        series = series * part + T.float32(math.log(2) ** power / math.factorial(power))
    exponent = T.shift_left(T.Cast("int32", whole) + 127, 23)
    return series * T.reinterpret("float32", exponent)


def silu(x: Any) -> Any:
    """Return x * sigmoid(x)."""
    from tvm.script import tirx as T

    return x / (T.float32(1) + exp2(x * T.float32(-LOG2_E)))
