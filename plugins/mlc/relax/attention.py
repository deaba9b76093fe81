"""Attention over the paged KV cache on a CPU: prefill among the new tokens, prefill over cached pages, decode.

The functions have the signatures that TVM's ``paged_attention_kv_cache_create`` calls. A page holds ``PAGE`` positions
of one head; keys lie in it transposed, [head_dim][PAGE], so that a vector holds one feature of all its positions and
scores need no sum across lanes. Softmax runs on base-2 exponents with a running maximum (FlashAttention, Dao et al.
2022, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from .expressions import LOG2_E, exp2

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

PAGE = 16
"""Positions of a page, and queries that a vector holds."""
_MASKED = -1e30
_CHUNK = 8  # features accumulated at a time: as many registers


@dataclass(frozen=True, slots=True)
class Heads:
    """Shape of an attention layer."""

    queries: int
    keys: int
    dim: int

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.queries // self.keys


@cache
def split(heads: Heads) -> PrimFunc:
    """Return the kernel that takes fused qkv apart; positions are applied before the cache sees it."""
    from tvm.script import tirx as T

    queries, keys, dim = heads.queries, heads.keys, heads.dim

    @T.prim_func(s_tir=True, private=True)
    def kernel(fused: T.handle, positions: T.handle, qs: T.handle, ks: T.handle, vs: T.handle, apply_rope: T.int64):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        n = T.int32()
        offset = T.int32()
        QKV = T.match_buffer(fused, (n, queries + 2 * keys, dim), "float32")
        P = T.match_buffer(positions, (n,), "int32", elem_offset=offset)
        Q = T.match_buffer(qs, (n, queries, dim), "float32")
        K = T.match_buffer(ks, (n, keys, dim), "float32")
        V = T.match_buffer(vs, (n, keys, dim), "float32")
        for i in T.serial(n):
            with T.sblock("token"):
                for h in T.serial(queries):
                    for v in T.vectorized(dim):
                        Q[i, h, v] = QKV[i, h, v]
                for h in T.serial(keys):
                    for v in T.vectorized(dim):
                        K[i, h, v] = QKV[i, queries + h, v]
                    for v in T.vectorized(dim):
                        V[i, h, v] = QKV[i, queries + keys + h, v]

    return kernel


@cache
def append(heads: Heads) -> PrimFunc:
    """Return the kernel that writes new keys (transposed) and values into their pages."""
    from tvm.script import tirx as T

    keys, dim = heads.keys, heads.dim

    @T.prim_func(s_tir=True, private=True)
    def kernel(pages: T.handle, ks: T.handle, vs: T.handle, slots: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        n = T.int64()
        count = T.int64()
        page_offset = T.int64()
        slot_offset = T.int32()
        PAGES = T.match_buffer(pages, (count, 2, keys, PAGE, dim), "float32", elem_offset=page_offset)
        K = T.match_buffer(ks, (n, keys, dim), "float32")
        V = T.match_buffer(vs, (n, keys, dim), "float32")
        SLOTS = T.match_buffer(slots, (n,), "int32", elem_offset=slot_offset)
        for i in T.serial(n):
            if SLOTS[i] != -1:
                with T.sblock("token"):
                    page: T.let[T.int32] = SLOTS[i] // PAGE
                    at: T.let[T.int32] = SLOTS[i] % PAGE
                    for h in T.serial(keys):
                        for d in T.serial(dim):
                            PAGES[page, 0, h, (d * PAGE + at) // dim, (d * PAGE + at) % dim] = K[i, h, d]
                        for v in T.vectorized(dim):
                            PAGES[page, 1, h, at, v] = V[i, h, v]

    return kernel


@cache
def decode(heads: Heads) -> PrimFunc:
    """Return the kernel for one query a sequence: scores of all pages, then their softmax, then the values."""
    from tvm.script import tirx as T

    queries, keys, dim, group = heads.queries, heads.keys, heads.dim, heads.group

    @T.prim_func(s_tir=True, private=True)
    def kernel(
        q: T.handle,
        pages: T.handle,
        page_indptr: T.handle,
        page_values: T.handle,
        lengths: T.handle,
        key_offsets: T.handle,
        query_positions: T.handle,
        output: T.handle,
        logsum: T.handle,
        rotary_mode: T.int32,
        rope_scale: T.float32,
        rope_theta: T.float32,
        sm_scale: T.float32,
    ):
        T.func_attr({"tirx.is_scheduled": True})
        B = T.int32()
        nnz = T.int32()
        count = T.int32()
        indptr_offset = T.int32()
        values_offset = T.int32()
        lengths_offset = T.int32()
        keys_offset = T.int32()
        query_offset = T.int32()
        Q = T.match_buffer(q, (B, queries, dim), "float32")
        PAGES = T.match_buffer(pages, (count, 2, keys, PAGE, dim), "float32")
        INDPTR = T.match_buffer(page_indptr, (B + 1,), "int32", elem_offset=indptr_offset)
        VALUES = T.match_buffer(page_values, (nnz,), "int32", elem_offset=values_offset)
        LAST = T.match_buffer(lengths, (B,), "int32", elem_offset=lengths_offset)
        T.match_buffer(key_offsets, (B,), "int32", elem_offset=keys_offset)
        T.match_buffer(query_positions, (B,), "int32", elem_offset=query_offset)
        O = T.match_buffer(output, (B, queries, dim), "float32")
        LSE = T.match_buffer(logsum, (B, queries), "float32")
        for b in T.serial(B):
            for h in T.parallel(queries):
                with T.sblock("head"):
                    T.reads()  # bounds that are known only inside cannot be declared
                    T.writes()
                    S = T.sblock_alloc_buffer((nnz * PAGE,), "float32")
                    part = T.sblock_alloc_buffer((4, PAGE), "float32", scope="local")
                    top = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    mass = T.sblock_alloc_buffer((PAGE,), "float32", scope="local")
                    acc = T.sblock_alloc_buffer((dim,), "float32", scope="local")
                    best = T.sblock_alloc_buffer((1,), "float32", scope="local")
                    total = T.sblock_alloc_buffer((1,), "float32", scope="local")
                    first: T.let[T.int32] = INDPTR[b]
                    used: T.let[T.int32] = INDPTR[b + 1] - INDPTR[b]
                    length: T.let[T.int32] = (used - 1) * PAGE + LAST[b]
                    for v in T.vectorized(PAGE):
                        top[v] = T.float32(_MASKED)
                    for p in T.serial(used):
                        page: T.let[T.int32] = VALUES[first + p]
                        for x in T.unroll(4):
                            for v in T.vectorized(PAGE):
                                part[x, v] = T.float32(0)
                        for d in T.serial(dim // 4):
                            for x in T.unroll(4):
                                for v in T.vectorized(PAGE):
                                    part[x, v] += (
                                        Q[b, h, d * 4 + x]
                                        * PAGES[
                                            page,
                                            0,
                                            h // group,
                                            ((d * 4 + x) * PAGE + v) // dim,
                                            ((d * 4 + x) * PAGE + v) % dim,
                                        ]
                                    )
                        for v in T.vectorized(PAGE):
                            S[p * PAGE + v] = T.Select(
                                p * PAGE + v < length,
                                (part[0, v] + part[1, v] + part[2, v] + part[3, v]) * sm_scale * T.float32(LOG2_E),
                                T.float32(_MASKED),
                            )
                        for v in T.vectorized(PAGE):
                            top[v] = T.max(top[v], S[p * PAGE + v])
                    best[0] = top[0]
                    for x in T.unroll(PAGE - 1):
                        best[0] = T.max(best[0], top[x + 1])
                    for v in T.vectorized(PAGE):
                        mass[v] = T.float32(0)
                    for d in T.unroll(dim // PAGE):
                        for v in T.vectorized(PAGE):
                            acc[d * PAGE + v] = T.float32(0)
                    for p in T.serial(used):
                        page: T.let[T.int32] = VALUES[first + p]
                        for v in T.vectorized(PAGE):
                            S[p * PAGE + v] = T.Select(
                                p * PAGE + v < length, exp2(S[p * PAGE + v] - best[0]), T.float32(0)
                            )
                        for v in T.vectorized(PAGE):
                            mass[v] += S[p * PAGE + v]
                        for x in T.serial(T.min(PAGE, length - p * PAGE)):
                            for d in T.unroll(dim // PAGE):
                                for v in T.vectorized(PAGE):
                                    acc[d * PAGE + v] += S[p * PAGE + x] * PAGES[page, 1, h // group, x, d * PAGE + v]
                    total[0] = mass[0]
                    for x in T.unroll(PAGE - 1):
                        total[0] = total[0] + mass[x + 1]
                    for d in T.unroll(dim // PAGE):
                        for v in T.vectorized(PAGE):
                            O[b, h, d * PAGE + v] = acc[d * PAGE + v] / total[0]
                    LSE[b, h] = best[0] + T.log2(total[0])

    return kernel


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
                        top[v] = T.float32(_MASKED)
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
                                        T.float32(_MASKED),
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
                                S[x, v] = T.Select(S[x, v] > T.float32(_MASKED), exp2(S[x, v] - top[v]), T.float32(0))
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
