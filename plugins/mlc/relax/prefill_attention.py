"""Attention of many new tokens on a CPU: among themselves, and over the pages before them.

The kernels have the signatures that TVM's ``paged_attention_kv_cache_create`` calls. Softmax runs on base-2 exponents
with a running maximum (FlashAttention, Dao et al. 2022, section 3.1).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .expressions import LOG2_E, exp2
from .heads import MASKED, PAGE, Heads

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

_CHUNK = 8  # features accumulated at a time: as many registers


@cache
def prefill(heads: Heads) -> PrimFunc:
    """Return the kernel among the new tokens themselves (their keys and values are read from where they were made)."""
    from tvm.script import tirx as T

    queries, keys, dim = heads.queries, heads.keys, heads.dim
    attend = _attend(heads, is_paged=False)

    @T.prim_func(s_tir=True, private=True)
    def kernel(
        q: T.handle,
        q_indptr: T.handle,
        k: T.handle,
        v: T.handle,
        kv_indptr: T.handle,
        query_positions: T.handle,
        key_offsets: T.handle,
        output: T.handle,
        logsum: T.handle,
        causal: T.int32,
        rotary_mode: T.int32,
        rope_scale: T.float32,
        rope_theta: T.float32,
        sm_scale: T.float32,
    ):
        T.func_attr({"tirx.is_scheduled": True})
        B = T.int32()
        n = T.int32()
        n_kv = T.int32()
        q_offset = T.int32()
        kv_offset = T.int32()
        query_offset = T.int32()
        keys_offset = T.int32()
        Q = T.match_buffer(q, (n, queries, dim), "float32")
        QI = T.match_buffer(q_indptr, (B + 1,), "int32", elem_offset=q_offset)
        K = T.match_buffer(k, (n_kv, keys, dim), "float32")
        V = T.match_buffer(v, (n_kv, keys, dim), "float32")
        KI = T.match_buffer(kv_indptr, (B + 1,), "int32", elem_offset=kv_offset)
        T.match_buffer(query_positions, (n,), "int32", elem_offset=query_offset)
        T.match_buffer(key_offsets, (B,), "int32", elem_offset=keys_offset)
        O = T.match_buffer(output, (n, queries, dim), "float32")
        LSE = T.match_buffer(logsum, (n, queries), "float32")
        for b in T.serial(B):
            attend(Q, QI[b], QI[b + 1] - QI[b], K, V, KI, KI[b], KI[b + 1] - KI[b], O, LSE, causal, sm_scale)

    return kernel


@cache
def cached_prefill(heads: Heads) -> PrimFunc:
    """Return the kernel of new tokens over the positions that lie in pages."""
    from tvm.script import tirx as T

    queries, keys, dim = heads.queries, heads.keys, heads.dim
    attend = _attend(heads, is_paged=True)

    @T.prim_func(s_tir=True, private=True)
    def kernel(
        q: T.handle,
        q_indptr: T.handle,
        pages: T.handle,
        page_indptr: T.handle,
        page_values: T.handle,
        lengths: T.handle,
        key_offsets: T.handle,
        query_positions: T.handle,
        output: T.handle,
        logsum: T.handle,
        causal: T.int32,
        rotary_mode: T.int32,
        rope_scale: T.float32,
        rope_theta: T.float32,
        sm_scale: T.float32,
    ):
        T.func_attr({"tirx.is_scheduled": True})
        B = T.int32()
        n = T.int32()
        nnz = T.int32()
        count = T.int32()
        q_offset = T.int32()
        indptr_offset = T.int32()
        values_offset = T.int32()
        lengths_offset = T.int32()
        keys_offset = T.int32()
        query_offset = T.int32()
        Q = T.match_buffer(q, (n, queries, dim), "float32")
        QI = T.match_buffer(q_indptr, (B + 1,), "int32", elem_offset=q_offset)
        PAGES = T.match_buffer(pages, (count, 2, keys, PAGE, dim), "float32")
        INDPTR = T.match_buffer(page_indptr, (B + 1,), "int32", elem_offset=indptr_offset)
        VALUES = T.match_buffer(page_values, (nnz,), "int32", elem_offset=values_offset)
        LAST = T.match_buffer(lengths, (B,), "int32", elem_offset=lengths_offset)
        T.match_buffer(key_offsets, (B,), "int32", elem_offset=keys_offset)
        T.match_buffer(query_positions, (n,), "int32", elem_offset=query_offset)
        O = T.match_buffer(output, (n, queries, dim), "float32")
        LSE = T.match_buffer(logsum, (n, queries), "float32")
        for b in T.serial(B):
            attend(
                Q,
                QI[b],
                QI[b + 1] - QI[b],
                PAGES,
                PAGES,
                VALUES,
                INDPTR[b],
                (INDPTR[b + 1] - INDPTR[b] - 1) * PAGE + LAST[b],
                O,
                LSE,
                causal,
                sm_scale,
            )

    return kernel


def _attend(heads: Heads, *, is_paged: bool) -> Any:
    """Return the body that both prefill kernels share: a vector of queries against all keys, a page at a time."""
    from tvm.script import tirx as T

    queries, dim, group = heads.queries, heads.dim, heads.group

    @T.macro
    def attend(Q, q_first, q_len, K, V, TABLE, kv_first, kv_len, O, LSE, causal, sm_scale):
        for h in T.parallel(queries):
            for block in T.serial((q_len + (PAGE - 1)) // PAGE):
                with T.sblock("queries"):
                    QT = T.sblock_alloc_buffer((dim, PAGE), "float32", scope="local")
                    OT = T.sblock_alloc_buffer((dim, PAGE), "float32", scope="local")
                    S = T.sblock_alloc_buffer((PAGE, PAGE), "float32", scope="local")
                    acc = T.sblock_alloc_buffer((_CHUNK, PAGE), "float32", scope="local")
                    top = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    new_top = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    rescale = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    mass = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    for d in T.serial(dim):
                        for v in T.serial(PAGE):
                            QT[d, v] = Q[q_first + T.min(block * PAGE + v, q_len - 1), h, d] * (
                                sm_scale * T.float32(LOG2_E)
                            )
                        for v in T.vectorized(PAGE):
                            OT[d, v] = T.float32(0)
                    for v in T.vectorized(PAGE):
                        top[v] = T.float32(MASKED)
                        mass[v] = T.float32(0)
                    for p in T.serial(
                        (
                            T.min(kv_len, T.if_then_else(causal > 0, kv_len - q_len + (block + 1) * PAGE, kv_len))
                            + (PAGE - 1)
                        )
                        // PAGE
                    ):
                        for half in T.unroll(PAGE // _CHUNK):
                            for x in T.unroll(_CHUNK):
                                for v in T.vectorized(PAGE):
                                    acc[x, v] = T.float32(0)
                            for d in T.serial(dim):
                                for x in T.unroll(_CHUNK):
                                    for v in T.vectorized(PAGE):
                                        acc[x, v] += QT[d, v] * _key(
                                            is_paged,
                                            K,
                                            TABLE,
                                            kv_first,
                                            kv_len,
                                            p,
                                            half * _CHUNK + x,
                                            h // group,
                                            d,
                                            dim,
                                        )
                            for x in T.unroll(_CHUNK):
                                for v in T.vectorized(PAGE):
                                    S[half * _CHUNK + x, v] = T.Select(
                                        _is_seen(p * PAGE + half * _CHUNK + x, block * PAGE + v, kv_len, q_len, causal),
                                        acc[x, v],
                                        T.float32(MASKED),
                                    )
                        for v in T.vectorized(PAGE):
                            new_top[v] = top[v]
                        for x in T.unroll(PAGE):
                            for v in T.vectorized(PAGE):
                                new_top[v] = T.max(new_top[v], S[x, v])
                        for v in T.vectorized(PAGE):
                            rescale[v] = exp2(top[v] - new_top[v])
                            top[v] = new_top[v]
                            mass[v] = mass[v] * rescale[v]
                        for x in T.unroll(PAGE):
                            for v in T.vectorized(PAGE):
                                S[x, v] = T.Select(S[x, v] > T.float32(MASKED), exp2(S[x, v] - top[v]), T.float32(0))
                            for v in T.vectorized(PAGE):
                                mass[v] += S[x, v]
                        for chunk in T.serial(dim // _CHUNK):
                            for c in T.unroll(_CHUNK):
                                for v in T.vectorized(PAGE):
                                    acc[c, v] = OT[chunk * _CHUNK + c, v] * rescale[v]
                            for x in T.unroll(PAGE):
                                for c in T.unroll(_CHUNK):
                                    for v in T.vectorized(PAGE):
                                        acc[c, v] += S[x, v] * _value(
                                            is_paged, V, TABLE, kv_first, kv_len, p, x, h // group, chunk * _CHUNK + c
                                        )
                            for c in T.unroll(_CHUNK):
                                for v in T.vectorized(PAGE):
                                    OT[chunk * _CHUNK + c, v] = acc[c, v]
                    for v in T.serial(T.min(PAGE, q_len - block * PAGE)):
                        for d in T.serial(dim):
                            O[q_first + block * PAGE + v, h, d] = OT[d, v] / mass[v]
                        LSE[q_first + block * PAGE + v, h] = top[v] + T.log2(mass[v])

    return attend


def _is_seen(position: Any, query: Any, kv_len: Any, q_len: Any, causal: Any) -> Any:
    """Return whether a query may look at a position: it exists and, if causal, does not lie ahead."""
    from tvm.script import tirx as T

    ahead = T.And(causal > 0, position > query + (kv_len - q_len))
    return T.And(position < kv_len, T.Not(ahead))


def _key(is_paged: bool, K, TABLE, first, length, page, at, head, feature, dim):
    """Return one feature of a key as a TIR expression; positions beyond the last read the last and are masked."""
    from tvm.script import tirx as T

    if is_paged:
        slot = feature * PAGE + at
        return K[TABLE[first + page], 0, head, slot // dim, slot % dim]
    return K[first + T.min(page * PAGE + at, length - 1), head, feature]


def _value(is_paged: bool, V, TABLE, first, length, page, at, head, feature):
    """Return one feature of a value, likewise; pages are whole, so an unused slot is read but weighs nothing."""
    from tvm.script import tirx as T

    if is_paged:
        return V[TABLE[first + page], 1, head, at, feature]
    return V[first + T.min(page * PAGE + at, length - 1), head, feature]
