"""Everything between the matrix products: embedding, norms, rotary positions, the gate of the feed-forward layer."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .expressions import silu
from .heads import Heads
from .layout import GROUP, WeightFormat
from .matmul import weight

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_LANES = 16  # one vector of partial sums


def _rows(is_decode: bool) -> Any:
    """Return the number of rows: 1, or a variable that a call binds."""
    from tvm import tirx

    return 1 if is_decode else tirx.Var("n", "int64")


@cache
def embed(vocabulary: int, width: int, form: WeightFormat, *, is_decode: bool) -> PrimFunc:
    """Return the kernel that looks token ids [rows] up: ids, the stored arrays, output [rows, width]."""
    from tvm.script import tirx as T

    rows = _rows(is_decode)

    shapes = form.shapes(vocabulary, width)
    tiles, words, lanes = shapes[0]
    per_word = form.per_word

    @T.macro
    def look_up(IDS, W, S, OUT):
        for i in T.serial(rows):
            for j in T.serial(words):
                for x in T.unroll(per_word):
                    OUT[i, j * per_word + x] = weight(form, W, S, IDS[i] // lanes, j, x, IDS[i] % lanes)

    if form.is_grouped:

        @T.prim_func(s_tir=True, private=True)
        def kernel(ids: T.handle, w: T.handle, s: T.handle, out: T.handle):
            T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
            IDS = T.match_buffer(ids, (rows,), "int32")
            W = T.match_buffer(w, (tiles, words, lanes), form.dtype)
            S = T.match_buffer(s, (tiles, width // GROUP, lanes), form.scale_dtype)
            OUT = T.match_buffer(out, (rows, width), "float32")
            look_up(IDS, W, S, OUT)

    else:

        @T.prim_func(s_tir=True, private=True)
        def kernel(ids: T.handle, w: T.handle, out: T.handle):
            T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
            IDS = T.match_buffer(ids, (rows,), "int32")
            W = T.match_buffer(w, (tiles, words, lanes), form.dtype)
            OUT = T.match_buffer(out, (rows, width), "float32")
            look_up(IDS, W, W, OUT)

    return kernel


@cache
def rms_norm(width: int, eps: float, *, is_decode: bool) -> PrimFunc:
    """Return the kernel ``Y = X / rms(X) * W`` over rows [rows, width]: X, W, Y."""
    from tvm.script import tirx as T

    rows = _rows(is_decode)

    @T.prim_func(s_tir=True, private=True)
    def kernel(x: T.handle, w: T.handle, y: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        X = T.match_buffer(x, (rows, width), "float32")
        W = T.match_buffer(w, (width,), "float32")
        Y = T.match_buffer(y, (rows, width), "float32")
        for i in T.serial(rows):
            with T.sblock("row"):
                part = T.sblock_alloc_buffer((_LANES,), "float32", scope="local")
                scale = T.sblock_alloc_buffer((1,), "float32", scope="local")
                for v in T.vectorized(_LANES):
                    part[v] = T.float32(0)
                for j in T.serial(width // _LANES):
                    for v in T.vectorized(_LANES):
                        part[v] += X[i, j * _LANES + v] * X[i, j * _LANES + v]
                scale[0] = T.float32(0)
                for v in T.unroll(_LANES):
                    scale[0] += part[v]
                scale[0] = T.float32(1) / T.sqrt(scale[0] / T.float32(width) + T.float32(eps))
                for j in T.serial(width // _LANES):
                    for v in T.vectorized(_LANES):
                        Y[i, j * _LANES + v] = X[i, j * _LANES + v] * scale[0] * W[j * _LANES + v]

    return kernel


@cache
def add(width: int, *, is_decode: bool) -> PrimFunc:
    """Return the kernel ``C = A + B`` over rows [rows, width]."""
    from tvm.script import tirx as T

    rows = _rows(is_decode)

    @T.prim_func(s_tir=True, private=True)
    def kernel(a: T.handle, b: T.handle, c: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        A = T.match_buffer(a, (rows, width), "float32")
        B = T.match_buffer(b, (rows, width), "float32")
        C = T.match_buffer(c, (rows, width), "float32")
        for i in T.serial(rows):
            for j in T.serial(width // _LANES):
                for v in T.vectorized(_LANES):
                    C[i, j * _LANES + v] = A[i, j * _LANES + v] + B[i, j * _LANES + v]

    return kernel


@cache
def gated(width: int, *, is_decode: bool) -> PrimFunc:
    """Return the kernel ``Y = silu(gate) * up`` from [rows, 2 width], gate first."""
    from tvm.script import tirx as T

    rows = _rows(is_decode)

    @T.prim_func(s_tir=True, private=True)
    def kernel(x: T.handle, y: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        X = T.match_buffer(x, (rows, 2 * width), "float32")
        Y = T.match_buffer(y, (rows, width), "float32")
        for i in T.serial(rows):
            for j in T.serial(width // _LANES):
                for v in T.vectorized(_LANES):
                    Y[i, j * _LANES + v] = silu(X[i, j * _LANES + v]) * X[i, width + j * _LANES + v]

    return kernel


@cache
def last(width: int) -> PrimFunc:
    """Return the kernel that keeps the last row of [n, width] as [1, width]."""
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True, private=True)
    def kernel(x: T.handle, y: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        n = T.int64()
        X = T.match_buffer(x, (n, width), "float32")
        Y = T.match_buffer(y, (1, width), "float32")
        for j in T.serial(width // _LANES):
            for v in T.vectorized(_LANES):
                Y[0, j * _LANES + v] = X[n - 1, j * _LANES + v]

    return kernel


@cache
def row_norms(heads: Heads, eps: float, *, is_decode: bool) -> PrimFunc:
    """Return the kernel that normalises all queries and all keys of a row as ``rms_norm`` does, each as one vector.

    Its arguments are fused qkv [rows, (queries + 2 keys) * dim], query norm, key norm and the output of qkv's shape.
    """
    from tvm.script import tirx as T

    rows = _rows(is_decode)
    queries, keys = heads.queries * heads.dim, heads.keys * heads.dim
    total = queries + 2 * keys

    @T.macro
    def normalise(X, W, Y, i, first, size):
        part = T.sblock_alloc_buffer((_LANES,), "float32", scope="local")
        scale = T.sblock_alloc_buffer((1,), "float32", scope="local")
        for v in T.vectorized(_LANES):
            part[v] = T.float32(0)
        for j in T.serial(size // _LANES):
            for v in T.vectorized(_LANES):
                part[v] += X[i, first + j * _LANES + v] * X[i, first + j * _LANES + v]
        scale[0] = T.float32(0)
        for v in T.unroll(_LANES):
            scale[0] += part[v]
        scale[0] = T.float32(1) / T.sqrt(scale[0] / T.float32(size) + T.float32(eps))
        for j in T.serial(size // _LANES):
            for v in T.vectorized(_LANES):
                Y[i, first + j * _LANES + v] = X[i, first + j * _LANES + v] * scale[0] * W[j * _LANES + v]

    @T.prim_func(s_tir=True, private=True)
    def kernel(x: T.handle, qn: T.handle, kn: T.handle, y: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        X = T.match_buffer(x, (rows, total), "float32")
        QN = T.match_buffer(qn, (queries,), "float32")
        KN = T.match_buffer(kn, (keys,), "float32")
        Y = T.match_buffer(y, (rows, total), "float32")
        for i in T.serial(rows):
            with T.sblock("queries"):
                normalise(X, QN, Y, i, 0, queries)
            with T.sblock("keys"):
                normalise(X, KN, Y, i, queries, keys)
            with T.sblock("values"):
                for j in T.serial(keys // _LANES):
                    for v in T.vectorized(_LANES):
                        Y[i, queries + keys + j * _LANES + v] = X[i, queries + keys + j * _LANES + v]

    return kernel


@cache
def rotary(
    heads: Heads,
    context: int,
    eps: float,
    *,
    is_decode: bool,
    has_bias: bool,
    has_norm: bool,
    is_rotated: bool,
) -> PrimFunc:
    """Return the kernel that makes fused qkv ready for attention: bias, norm of each query and key, positions.

    Its arguments are qkv [rows, (queries + 2 keys) * dim], positions [rows], the table [context, dim] of cosines (first
    half) and sines, bias, query norm and key norm (the table again for those that the model lacks), and the output
    [rows, queries + 2 keys, dim]. Feature i is rotated with i + dim / 2 (RoFormer, Su et al. 2021, in the order of
    Hugging Face checkpoints).

    Args:
        heads: shape of the layer.
        context: rows of the table.
        eps: of the norm.
        is_decode: one token; otherwise their number is known at run time.
        has_bias: a bias on q, k and v (Qwen2).
        has_norm: a norm over each query and key head (Qwen3).
        is_rotated: whether the layer knows positions.
    """
    from tvm.script import tirx as T

    rows = _rows(is_decode)

    queries, keys, dim = heads.queries, heads.keys, heads.dim
    half, total = dim // 2, heads.queries + 2 * heads.keys
    lanes = _LANES if half % _LANES == 0 else _LANES // 2

    @T.macro
    def body(X, P, TABLE, BIAS, QN, KN, Y):
        for i in T.serial(rows):
            for h in T.serial(total):
                with T.sblock("head"):
                    part = T.sblock_alloc_buffer((lanes,), "float32", scope="local")
                    scale = T.sblock_alloc_buffer((1,), "float32", scope="local")
                    for v in T.vectorized(dim):
                        Y[i, h, v] = X[i, h * dim + v]
                    if has_bias:
                        for v in T.vectorized(dim):
                            Y[i, h, v] += BIAS[h * dim + v]
                    if h < queries + keys:
                        if has_norm:
                            for v in T.vectorized(lanes):
                                part[v] = T.float32(0)
                            for j in T.unroll(dim // lanes):
                                for v in T.vectorized(lanes):
                                    part[v] += Y[i, h, j * lanes + v] * Y[i, h, j * lanes + v]
                            scale[0] = T.float32(0)
                            for v in T.unroll(lanes):
                                scale[0] += part[v]
                            scale[0] = T.float32(1) / T.sqrt(scale[0] / T.float32(dim) + T.float32(eps))
                            if h < queries:
                                for v in T.vectorized(dim):
                                    Y[i, h, v] = Y[i, h, v] * scale[0] * QN[v]
                            else:
                                for v in T.vectorized(dim):
                                    Y[i, h, v] = Y[i, h, v] * scale[0] * KN[v]
                        for j in T.unroll(half // lanes if is_rotated else 0):
                            with T.sblock("pair"):
                                low = T.sblock_alloc_buffer((lanes,), "float32", scope="local")
                                for v in T.vectorized(lanes):
                                    low[v] = (
                                        Y[i, h, j * lanes + v] * TABLE[P[i], j * lanes + v]
                                        - Y[i, h, half + j * lanes + v] * TABLE[P[i], half + j * lanes + v]
                                    )
                                for v in T.vectorized(lanes):
                                    Y[i, h, half + j * lanes + v] = (
                                        Y[i, h, half + j * lanes + v] * TABLE[P[i], j * lanes + v]
                                        + Y[i, h, j * lanes + v] * TABLE[P[i], half + j * lanes + v]
                                    )
                                for v in T.vectorized(lanes):
                                    Y[i, h, j * lanes + v] = low[v]

    # what a model does not have is never read; the table stands in its place
    table_shape = (context, dim)
    bias_shape = (total * dim,) if has_bias else table_shape
    norm_shape = (dim,) if has_norm else table_shape

    @T.prim_func(s_tir=True, private=True)
    def kernel(x: T.handle, p: T.handle, table: T.handle, bias: T.handle, qn: T.handle, kn: T.handle, y: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        X = T.match_buffer(x, (rows, total * dim), "float32")
        P = T.match_buffer(p, (rows,), "int32")
        TABLE = T.match_buffer(table, table_shape, "float32")
        BIAS = T.match_buffer(bias, bias_shape, "float32")
        QN = T.match_buffer(qn, norm_shape, "float32")
        KN = T.match_buffer(kn, norm_shape, "float32")
        Y = T.match_buffer(y, (rows, total, dim), "float32")
        body(X, P, TABLE, BIAS, QN, KN, Y)

    return kernel
