"""Attention of one new token over the paged KV cache, on a CPU.

The kernel has the signature that TVM's ``paged_attention_kv_cache_create`` calls.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .expressions import LOG2_E, exp2
from .heads import MASKED, PAGE, Heads

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


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
                        top[v] = T.float32(MASKED)
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
                                T.float32(MASKED),
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
