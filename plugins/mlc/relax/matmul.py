"""Matrix products: one token (decode) and many (prefill), over tiled weights in every format.

A decode product is bound by reading weights: a tile's accumulators stay in registers while K runs. A prefill product is
bound by arithmetic: a block of rows times a tile keeps ``_ROWS`` x ``lanes`` accumulators in registers; weights that
are not float32 are unpacked once per block of K and used by every row.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .layout import GROUP, WeightFormat

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_ROWS = 6  # rows x 64 lanes = 24 registers of 512 bits; the rest hold weights and a broadcast
_BLOCK = 512  # of K: an unpacked tile of it (128 KiB) fits the second-level cache


@cache
def matmul(n: int, k: int, form: WeightFormat, *, is_decode: bool) -> PrimFunc:
    """Return the kernel for ``C[rows, N'] = A[rows, K] W[N, K]^T``, N' being N padded to whole tiles.

    Its arguments are A, the stored arrays of W, and C.

    Args:
        n: outputs.
        k: inputs; a multiple of ``GROUP`` for grouped formats.
        form: how W is stored.
        is_decode: one row; otherwise their number is known at run time.
    """
    if not is_decode:
        return _matrix(n, k, form)
    return _grouped_vector(n, k, form) if form.is_grouped else _float_vector(n, k, form)


def _block_of(k: int) -> int:
    """Return the length of a block of K: the largest divisor up to ``_BLOCK``, whole groups where K has such."""
    grain = GROUP if k % GROUP == 0 else 1
    return max(size for size in range(grain, min(k, _BLOCK) + 1, grain) if k % size == 0)


def _float_vector(n: int, k: int, form: WeightFormat) -> PrimFunc:
    from tvm.script import tirx as T

    ((tiles, _, lanes),) = form.shapes(n, k)

    @T.prim_func(s_tir=True, private=True)
    def kernel(a: T.handle, w: T.handle, c: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        A = T.match_buffer(a, (1, k), "float32")
        W = T.match_buffer(w, (tiles, k, lanes), form.dtype)
        C = T.match_buffer(c, (1, tiles * lanes), "float32")
        for t in T.parallel(tiles):
            with T.sblock("tile"):
                acc = T.sblock_alloc_buffer((lanes,), "float32", scope="local")
                for v in T.vectorized(lanes):
                    acc[v] = T.float32(0)
                for i in T.serial(k):
                    for v in T.vectorized(lanes):
                        acc[v] = acc[v] + A[0, i] * T.Cast("float32", W[t, i, v])
                for v in T.vectorized(lanes):
                    C[0, t * lanes + v] = acc[v]

    return kernel


def _grouped_vector(n: int, k: int, form: WeightFormat) -> PrimFunc:
    """Stored weights are shifted by ``max_int``; the sum of a group's activations takes that off at once."""
    from tvm.script import tirx as T

    (tiles, words, lanes), (_, groups, _) = form.shapes(n, k)
    per_word, per_group = form.per_word, GROUP // form.per_word

    @T.prim_func(s_tir=True, private=True)
    def kernel(a: T.handle, w: T.handle, s: T.handle, c: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        A = T.match_buffer(a, (1, k), "float32")
        W = T.match_buffer(w, (tiles, words, lanes), "uint32")
        S = T.match_buffer(s, (tiles, groups, lanes), form.scale_dtype)
        C = T.match_buffer(c, (1, tiles * lanes), "float32")
        with T.sblock("root"):
            shift = T.sblock_alloc_buffer((groups,), "float32")
            for g in T.serial(groups):
                shift[g] = T.float32(0)
                for i in T.unroll(GROUP):
                    shift[g] = shift[g] - T.float32(form.max_int) * A[0, g * GROUP + i]
            for t in T.parallel(tiles):
                with T.sblock("tile"):
                    acc = T.sblock_alloc_buffer((lanes,), "float32", scope="local")
                    part = T.sblock_alloc_buffer((lanes,), "float32", scope="local")
                    for v in T.vectorized(lanes):
                        acc[v] = T.float32(0)
                    for g in T.serial(groups):
                        for v in T.vectorized(lanes):
                            part[v] = shift[g]
                        for j in T.unroll(per_group):
                            for i in T.unroll(per_word):
                                for v in T.vectorized(lanes):
                                    part[v] = part[v] + A[0, g * GROUP + j * per_word + i] * _stored(
                                        form, W[t, g * per_group + j, v], i
                                    )
                        for v in T.vectorized(lanes):
                            acc[v] = acc[v] + part[v] * T.Cast("float32", S[t, g, v])
                    for v in T.vectorized(lanes):
                        C[0, t * lanes + v] = acc[v]

    return kernel


def _stored(form: WeightFormat, word: Any, index: Any) -> Any:
    """Return the ``index``-th weight of a word as it is stored: an integer from 0 to 2 max_int, in float32."""
    from tvm.script import tirx as T

    bits = T.bitwise_and(T.shift_right(word, T.Cast("uint32", index * form.bits)), T.uint32(2**form.bits - 1))
    return T.Cast("float32", T.Cast("int32", bits))


def _matrix(n: int, k: int, form: WeightFormat) -> PrimFunc:
    from tvm.script import tirx as T

    shapes = form.shapes(n, k)
    tiles, words, lanes = shapes[0]
    per_word, block = form.per_word, _block_of(k)

    @T.macro
    def product(A, W, S, C, m):
        for t in T.parallel(tiles):
            for kb in T.serial(k // block):
                with T.sblock("tile"):
                    U = T.sblock_alloc_buffer((block, lanes), "float32")
                    for i in T.serial(block // per_word):
                        for j in T.unroll(per_word):
                            for v in T.vectorized(lanes):
                                U[i * per_word + j, v] = weight(form, W, S, t, kb * (block // per_word) + i, j, v)
                    for r in T.serial((m + (_ROWS - 1)) // _ROWS):
                        with T.sblock("rows"):
                            acc = T.sblock_alloc_buffer((_ROWS, lanes), "float32", scope="local")
                            for x in T.unroll(_ROWS):
                                for v in T.vectorized(lanes):
                                    acc[x, v] = T.float32(0)
                            for i in T.serial(block):
                                for x in T.unroll(_ROWS):
                                    for v in T.vectorized(lanes):
                                        # rows beyond the last repeat it, so that the block has no branch
                                        acc[x, v] += A[T.min(r * _ROWS + x, m - 1), kb * block + i] * U[i, v]
                            for x in T.unroll(_ROWS):
                                if r * _ROWS + x < m:
                                    for v in T.vectorized(lanes):
                                        C[r * _ROWS + x, t * lanes + v] = acc[x, v] + T.if_then_else(
                                            kb > 0, C[r * _ROWS + x, t * lanes + v], T.float32(0)
                                        )

    if form.is_grouped:

        @T.prim_func(s_tir=True, private=True)
        def kernel(a: T.handle, w: T.handle, s: T.handle, c: T.handle):
            T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
            m = T.int64()
            A = T.match_buffer(a, (m, k), "float32")
            W = T.match_buffer(w, (tiles, words, lanes), form.dtype)
            S = T.match_buffer(s, (tiles, k // GROUP, lanes), form.scale_dtype)
            C = T.match_buffer(c, (m, tiles * lanes), "float32")
            product(A, W, S, C, m)

    else:

        @T.prim_func(s_tir=True, private=True)
        def kernel(a: T.handle, w: T.handle, c: T.handle):
            T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
            m = T.int64()
            A = T.match_buffer(a, (m, k), "float32")
            W = T.match_buffer(w, (tiles, words, lanes), form.dtype)
            C = T.match_buffer(c, (m, tiles * lanes), "float32")
            product(A, W, W, C, m)

    return kernel


def weight(form: WeightFormat, words: Any, scales: Any, tile: Any, word: Any, index: Any, lane: Any) -> Any:
    """Return one weight in float32: the ``index``-th of a word in a tile of the stored arrays."""
    from tvm.script import tirx as T

    if not form.is_grouped:
        return T.Cast("float32", words[tile, word, lane])
    stored = _stored(form, words[tile, word, lane], index) - T.float32(form.max_int)
    return stored * T.Cast("float32", scales[tile, word // (GROUP // form.per_word), lane])
